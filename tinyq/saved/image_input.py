"""Prepare one image file as input of a network."""
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tinyq.errors import BadInput, UsageError
from tinyq.files.read import read_file
from tinyq.inputs.preparation import DEEP, WHITE, Preparation, grey
from tinyq.saved.attributes import preparation_of, shape_of

if TYPE_CHECKING:
    from tinyq.data.images.decode import ImageFile


class Unprepared(BadInput):
    """The network's file does not say how any image is prepared."""


def read_image(path: Path, attributes: dict, exif: str | None = None,
               on_tag: Callable[[Path, int], None] = lambda path, orientation: None) -> np.ndarray:
    """Read (c, h, w) float32, prepared as the data that the network is for: resized, its middle cut out, normalised.

    For a network with one channel the image becomes grey. exif: "ignore" or "apply" instead of what the attributes
    say of EXIF orientations; on_tag(path, orientation) is called for an image whose orientation is ignored and is not
    upright. BadInput if the file is not an image, Unprepared if the attributes do not describe the preparation;
    UsageError if the network does not take images, or not images of this size.
    """
    from tinyq.data.images.decode import BYTE_LIMIT, ImageFile

    shape = shape_of(attributes)
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise UsageError(f"{path}: the network takes inputs of shape {shape}, not images")
    preparation = _preparation(attributes)
    preparation = dataclasses.replace(preparation, exif=exif or preparation.exif)
    deep = shape[0] == 1 and preparation.is_deep
    image_file = ImageFile(read_file(path, BYTE_LIMIT), str(path), preparation.exif, deep)
    if preparation.exif == "ignore" and image_file.orientation != 1:
        on_tag(path, image_file.orientation)
    pixels = _view(image_file, shape[1:], preparation)
    if shape[0] == 1 and not deep:
        pixels = grey(pixels)
    return preparation.of_pixels(pixels.transpose(2, 0, 1)[None], DEEP if deep else WHITE)[0]


def _view(image_file: "ImageFile", plane: tuple[int, ...], preparation: Preparation) -> np.ndarray:
    """Return (h, w, 3) uint8, or (h, w, 1) uint16 of a deep file, of a network's plane (h, w)."""
    from tinyq.data.views import CentreView

    if plane[0] == plane[1]:
        return CentreView(plane[0], preparation.resized(plane[0]))(image_file)
    if image_file.shape != plane:
        raise UsageError(f"{image_file.name}: {image_file.shape[1]} x {image_file.shape[0]} pixels, where the network "
                         f"takes {plane[1]} x {plane[0]}; resize it")
    return image_file.pixels()[..., :3]


def _preparation(attributes: dict) -> Preparation:
    try:
        preparation = preparation_of("the network's file", attributes)
    except BadInput as error:
        raise Unprepared(str(error)) from error
    if preparation is not None and not preparation.brightest:
        raise UsageError("the network was trained on numbers, not on pixels, so that no picture can be its input; give "
                         "them with --data FILE.npz, or train it on whole pixels")
    if preparation is None:
        raise Unprepared("the network's file does not say how images are prepared: convert its weights again with "
                         "--data NAME, such as --data mnist, and pack it again")
    return preparation
