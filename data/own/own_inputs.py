"""Turn the inputs of a user's own data into pixels or numbers with their channels first."""
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tinyq.errors import BadInput, UsageError, did_you_mean
from tinyq.inputs.preparation import DEEP, WHITE

AUTO, FIRST, LAST, GREY, PLAIN = "auto", "channels-first", "channels-last", "grey", "plain"
LAYOUTS = (AUTO, FIRST, LAST, GREY, PLAIN)
CHANNELS = (1, 3, 4)                    # of a picture
MOST_AXES, LONGEST_AXIS = 4, 999_999    # of a sample
FARTHEST = 1e18                         # largest magnitude of a number: its square fits a float32
BLOCK = 1 << 22                         # numbers examined at a time


@dataclass(frozen=True, eq=False)
class Inputs:
    """Inputs of every part, (samples, channels or features, ...): pixels of 0 to `brightest`, or numbers (0)."""

    parts: dict[str, np.ndarray]
    layout: str                         # of LAYOUTS, auto replaced
    brightest: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return next(iter(self.parts.values())).shape[1:]


def check_layout(layout: str) -> None:
    """Raise UsageError, with the nearest, for a layout that is none of LAYOUTS."""
    if layout not in LAYOUTS:
        raise UsageError(f"layout {layout!r}: {did_you_mean(layout, LAYOUTS)}")


def inputs_of(parts: Mapping[str, np.ndarray], where: str, layout: str = AUTO, brightest: int = 0) -> Inputs:
    """Convert the inputs of all parts, which share their shape; BadInput for anything but finite numbers.

    layout: of LAYOUTS; auto takes two axes of a sample for a grey picture, and a short last axis for its channels.
    brightest: largest value of a pixel; 0 for 255, or 65535 of 16 bits. Whole numbers with height and width are pixels.
    """
    check_layout(layout)
    for part, array in parts.items():
        if array.dtype.kind not in "biuf":
            raise BadInput(f"{where}: the inputs{_in(part)} are {array.dtype}; they must be numbers")
        if not array.size or array.ndim > 1 + MOST_AXES or max(array.shape[1:], default=1) > LONGEST_AXIS:
            raise BadInput(f"{where}: the inputs{_in(part)} have the shape {array.shape}; a sample must have 1 to "
                           f"{MOST_AXES} axes, none of them empty")
    shapes = {array.shape[1:] for array in parts.values()}
    if len(shapes) > 1:
        raise BadInput(f"{where}: the samples of {', '.join(parts)} have the shapes "
                       f"{', '.join(str(array.shape[1:]) for array in parts.values())}; they must be equal")
    layout = _layout_of(shapes.pop(), layout, where)
    arrays = {part: _arranged(array, layout) for part, array in parts.items()}
    top = _brightest(arrays, layout, brightest, where)
    if top:
        kind = np.uint8 if top <= WHITE else np.uint16
        return Inputs({part: array.astype(kind, copy=False) for part, array in arrays.items()}, layout, top)
    for part, array in arrays.items():
        _check_numbers(array, f"{where}: the inputs{_in(part)}")
    return Inputs(arrays, layout, 0)


def _in(part):
    return f" of {part}" if part else ""


def _layout_of(shape, layout, where):
    if layout == AUTO:
        if len(shape) == 2:
            return GREY
        last = len(shape) == 3 and shape[2] in CHANNELS and shape[0] not in CHANNELS
        return LAST if last else FIRST if len(shape) == 3 else PLAIN
    if len(shape) != {GREY: 2, FIRST: 3, LAST: 3}.get(layout, len(shape)):
        raise BadInput(f"{where}: samples of shape {shape} have no layout {layout}")
    return layout


def _arranged(array, layout):
    """Return the samples with their channels first; a sample has at least one axis."""
    if layout == GREY:
        return array[:, None]
    if layout == LAST:
        return np.ascontiguousarray(array.transpose(0, 3, 1, 2))
    return array[:, None] if array.ndim == 1 else array


def _brightest(arrays, layout, given, where):
    """Return the largest value of a pixel, 0 where the inputs are no pixels."""
    whole = all(array.dtype.kind in "bui" for array in arrays.values())
    pictures = layout != PLAIN and next(iter(arrays.values())).ndim == 4
    if not (whole and pictures):
        if given:
            raise BadInput(f"{where}: the inputs are no pictures of whole numbers, which have a brightest value")
        return 0
    low, high = min(int(a.min()) for a in arrays.values()), max(int(a.max()) for a in arrays.values())
    if given and not (0 <= low and high <= given):
        raise BadInput(f"{where}: pixels reach from {low} to {high}, outside 0 ... {given}")
    widest = max(array.dtype.itemsize for array in arrays.values())
    usual = WHITE if widest == 1 or high <= WHITE and widest > 2 else DEEP
    return given or (usual if 0 <= low and high <= usual else 0)


def _check_numbers(array, what):
    if array.dtype.kind != "f":
        return
    step = max(1, BLOCK // max(1, array[0].size))
    for start in range(0, len(array), step):
        block = array[start:start + step].astype(np.float64)           # float16 has no 1e18
        with np.errstate(invalid="ignore"):
            wrong = np.argwhere(~(np.abs(block) <= FARTHEST))
        if len(wrong):
            at = tuple(wrong[0].tolist())
            raise BadInput(f"{what} hold {block[at]!s} in sample {start + at[0]}, at {list(at[1:])}; they must be "
                           f"finite and at most {FARTHEST:g} in size")
