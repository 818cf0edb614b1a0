"""The few values a weight may take, as data (METHODS.md, section 0)."""
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tinyq.errors import UsageError, did_you_mean


@dataclass(frozen=True)
class LevelSet:
    """A finite set of normalised levels, ascending; a constrained weight is scale * level."""

    name: str
    levels: tuple[float, ...]

    def __post_init__(self):
        """Refuse a set that is too small, not finite, or not strictly ascending."""
        rising = all(a < b for a, b in zip(self.levels, self.levels[1:], strict=False))
        if len(self.levels) < 2 or not all(map(math.isfinite, self.levels)) or not rising:
            raise UsageError(f"--levels {self.name}: give at least two distinct finite numbers, such as --levels=-1,0,1")

    @property
    def bits(self) -> int:
        """Bits a packed code takes."""
        return (len(self.levels) - 1).bit_length()

    @cached_property
    def values(self):
        """The levels as float64, ascending."""
        return np.array(self.levels, np.float64)

    @cached_property
    def midpoints(self):
        """Where the nearest level changes: (q_j + q_{j+1}) / 2, float64."""
        return (self.values[:-1] + self.values[1:]) / 2

    def codes(self, w, scale=1.0):
        """Index of the level nearest to w / scale, uint8; ties go to the lower level.

        w is compared with scale * midpoint in float64, so that no division rounds. scale broadcasts
        against w (one a tensor, or one an output filter).
        """
        w, scale = np.asarray(w), np.asarray(scale, np.float64)
        codes = np.zeros(np.broadcast_shapes(w.shape, scale.shape), np.uint8)
        for midpoint in self.midpoints:
            codes += w > scale * midpoint
        return codes

    def nearest(self, w, scale=1.0):
        """The level nearest to w / scale, in w's dtype; ties go to the lower level."""
        return self.values.astype(w.dtype)[self.codes(w, scale)]

    def distance(self, w, scale=1.0):
        """|w / scale - nearest level|, float64, in units of the scale."""
        codes = self.codes(w, scale)
        return np.abs(np.asarray(w, np.float64) / np.asarray(scale, np.float64) - self.values[codes])


NAMED = {
    s.name: s
    for s in (
        LevelSet("binary", (-1.0, 1.0)),
        LevelSet("ternary", (-1.0, 0.0, 1.0)),
        LevelSet("shift1", (-1.0, -0.5, 0.0, 0.5, 1.0)),
        LevelSet("shift2", (-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0)),
    )
}


def parse(text: str) -> LevelSet:
    """A set by its name, or any other list such as "-2,-1,0,1,2" (sorted, duplicates refused)."""
    if text in NAMED:
        return NAMED[text]
    try:
        numbers = sorted(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--levels {text}: no such set; {did_you_mean(text, NAMED)}, or a list such as -1,0,1") from None
    return LevelSet(text, tuple(numbers))
