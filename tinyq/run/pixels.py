"""One image file as a network gets it."""
import json
from pathlib import Path

import numpy as np

from tinyq.errors import UsageError
from tinyq.files.read import read_file
from tinyq.run.attributes import shape_of

LUMA = np.array([299, 587, 114], np.int64)              # of red, green, blue in 1000 parts of grey (ITU-R BT.601)


def read_image(path: Path, attributes: dict) -> np.ndarray:
    """(c, h, w) float32: the shorter side resized, the central square, normalised as the attributes say.

    A network of one channel gets grey. BadInput for what is no image, UsageError where the network takes none.
    """
    from tinyq.data.images import BYTE_LIMIT, Photograph
    from tinyq.data.transforms import normalise
    from tinyq.data.views import CentreView

    shape, how = shape_of(attributes), json.loads(attributes["preprocessing"])
    if len(shape) != 3 or shape[0] not in (1, 3) or shape[1] != shape[2]:
        raise UsageError(f"{path}: the network takes {shape}, no images; use --data")
    size = shape[1]
    pixels = CentreView(size, how.get("resize", size))(Photograph(read_file(path, BYTE_LIMIT), str(path)))
    if shape[0] == 1:
        pixels = ((pixels.astype(np.int64) * LUMA).sum(axis=2, keepdims=True) // 1000).astype(np.uint8)
    return normalise(pixels.transpose(2, 0, 1)[None], how["mean"], how["std"])[0]
