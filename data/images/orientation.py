"""Read the EXIF orientation of a photograph, and turn its pixels upright."""
import struct
from typing import NamedTuple

import numpy as np

_TAG, _SHORT = 0x0112, 3
_MAX_TAGS = 1000


class Turn(NamedTuple):
    """Transpose an image, then mirror it; the first axis is from top to bottom."""

    transpose: bool
    flip_rows: bool
    flip_columns: bool

    def shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Return (height, width) after the turn, of a stored image; or before it, of an upright one."""
        return (shape[1], shape[0]) if self.transpose else shape

    def image(self, pixels: np.ndarray) -> np.ndarray:
        """Return the turned image; pixels (H, W, ...)."""
        pixels = pixels.swapaxes(0, 1) if self.transpose else pixels
        pixels = pixels[::-1] if self.flip_rows else pixels
        return pixels[:, ::-1] if self.flip_columns else pixels


# By orientation. Each says which side of the scene the stored first row and the stored first column are.
TURNS = {1: Turn(False, False, False), 2: Turn(False, False, True), 3: Turn(False, True, True),
         4: Turn(False, True, False), 5: Turn(True, False, False), 6: Turn(True, False, True),
         7: Turn(True, True, True), 8: Turn(True, True, False)}


def orientation_of(exif: bytes | None) -> int:
    """Return the orientation 1 to 8 in a block of EXIF data; 1, upright, where it holds none or is damaged."""
    data = (exif or b"").removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        return 1
    try:
        at, = struct.unpack_from(f"{order}I", data, 4)
        count, = struct.unpack_from(f"{order}H", data, at)
        for k in range(min(count, _MAX_TAGS)):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", data, at + 2 + 12 * k)
            if tag == _TAG:
                return value if kind == _SHORT and value in TURNS else 1
    except struct.error:                        # it ends too early
        pass
    return 1
