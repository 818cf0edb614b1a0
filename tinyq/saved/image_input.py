"""Prepare one image file as input of a network."""
import json
import math
from pathlib import Path

import numpy as np

from tinyq.errors import BadInput, UsageError
from tinyq.files.read import read_file
from tinyq.saved.attributes import shape_of

MAX_RESIZED = 1 << 14                                  # pixels along a side
LUMA = np.array([299, 587, 114], np.int64)              # thousandths of red, green, blue in grey (ITU-R BT.601)


class Unprepared(BadInput):
    """The network's file does not say how any image is prepared."""


def read_image(path: Path, attributes: dict) -> np.ndarray:
    """Read (c, h, w) float32: the shorter side resized, the central square cut out, normalised as the attributes say.

    For a network with one channel the image becomes grey. BadInput if the file is not an image, Unprepared if the
    attributes do not describe the preparation; UsageError if the network does not take images.
    """
    from tinyq.data.images.decode import BYTE_LIMIT, ImageFile
    from tinyq.data.transforms import normalise
    from tinyq.data.views import CentreView

    shape = shape_of(attributes)
    if len(shape) != 3 or shape[0] not in (1, 3) or shape[1] != shape[2]:
        raise UsageError(f"{path}: the network takes inputs of shape {shape}, not images")
    resize, mean, std = _preparation(attributes, shape)
    pixels = CentreView(shape[1], resize)(ImageFile(read_file(path, BYTE_LIMIT), str(path)))
    if shape[0] == 1:
        pixels = ((pixels.astype(np.int64) * LUMA).sum(axis=2, keepdims=True) // 1000).astype(np.uint8)
    return normalise(pixels.transpose(2, 0, 1)[None], mean, std)[0]


def _preparation(attributes: dict, shape: tuple[int, ...]) -> tuple[int, list[float], list[float]]:
    """Return (side to resize to, mean, std) from the attribute `preprocessing`."""
    try:
        how = json.loads(attributes["preprocessing"])
        resize, mean, std = how.get("resize", shape[1]), how["mean"], how["std"]
        right = (type(resize) is int and shape[1] <= resize <= MAX_RESIZED and len(mean) == len(std) == shape[0]
                 and all(map(math.isfinite, [*mean, *std])) and min(std) > 0)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError):
        right = False
    if not right:
        raise Unprepared("the network's file does not say how images are prepared (its `preprocessing`: a mean and a "
                         "std above 0 for each channel); pack or convert it again")
    return resize, mean, std
