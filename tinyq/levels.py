"""Sets of levels, the values that a constrained weight may take (methods/README.md, section 0)."""
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tinyq.errors import UsageError, did_you_mean

MAX_LEVELS = 256                  # codes are uint8


@dataclass(frozen=True)
class LevelSet:
    """A finite set of normalised levels, ascending; a constrained weight is scale * level."""

    name: str
    levels: tuple[float, ...]

    def __post_init__(self):
        """Raise UsageError unless there are 2 to 256 levels, finite and ascending in float32."""
        object.__setattr__(self, "levels", tuple(float(level) + 0.0 for level in self.levels))     # no -0
        if len(self.levels) > MAX_LEVELS:
            raise UsageError(f"levels: {len(self.levels)} given, at most {MAX_LEVELS} fit a code of one byte")
        # Compared as float32, the type of effective weights: there 1e39 is infinite, and 0.1 equals 0.1000000001.
        with np.errstate(over="ignore"):
            shown = np.array(self.levels, np.float32)
        if len(shown) < 2 or not np.isfinite(shown).all() or not (shown[1:] > shown[:-1]).all():
            raise UsageError(
                f"levels must be at least two distinct finite float32 numbers, such as -1,0,1; got {self.name}"
            )

    @property
    def bits(self) -> int:
        """Number of bits of a packed code."""
        return (len(self.levels) - 1).bit_length()

    @cached_property
    def values(self) -> np.ndarray:
        """The levels as float64, ascending."""
        return np.array(self.levels, np.float64)

    @cached_property
    def midpoints(self) -> np.ndarray:
        """The points at which the nearest level changes: (q_j + q_{j+1}) / 2, float64."""
        return (self.values[:-1] + self.values[1:]) / 2

    def codes(self, w: np.ndarray, scale: np.ndarray | float = 1.0) -> np.ndarray:
        """Return the index of the level nearest to w / scale, uint8; ties go to the lower level, NaN to the lowest.

        w is compared with scale * midpoint, exactly as in float64, so that no division rounds.
        scale > 0 broadcasts against w: one per tensor, or one per output filter.
        """
        w, scale = np.asarray(w), np.asarray(scale, np.float64)
        codes = np.zeros(np.broadcast_shapes(w.shape, scale.shape), np.uint8)
        for midpoint in self.midpoints:
            codes += w > rounded_down(scale * midpoint, w.dtype)
        return codes

    def nearest(self, w: np.ndarray, scale: np.ndarray | float = 1.0) -> np.ndarray:
        """Return the level nearest to w / scale, in w's dtype; ties go to the lower level."""
        return self.values.astype(w.dtype)[self.codes(w, scale)]

    def distance(self, w: np.ndarray, scale: np.ndarray | float = 1.0) -> np.ndarray:
        """Return |w / scale - nearest level|, float64, in units of the scale."""
        codes = self.codes(w, scale)
        return np.abs(np.asarray(w, np.float64) / np.asarray(scale, np.float64) - self.values[codes])


def rounded_down(x: np.ndarray | float, dtype: np.dtype | type) -> np.ndarray:
    """Return the largest number of `dtype` that is <= x (float64).

    For every w of that dtype, w > x and w > rounded_down(x, dtype) agree, so no float64 copy of w is needed.
    """
    x = np.asarray(x, np.float64)
    near = x.astype(dtype)
    return np.where(near > x, np.nextafter(near, np.array(-np.inf, dtype)), near)


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
    """Return the set with this name, or make it from a list such as "-2,-1,0,1,2"; UsageError for duplicates."""
    if text in NAMED:
        return NAMED[text]
    try:
        numbers = sorted(float(part) for part in text.split(","))
    except ValueError:
        choices = did_you_mean(text, NAMED)
        raise UsageError(f"levels {text}: no such set; {choices}, or a list such as -1,0,1") from None
    return LevelSet(text, tuple(numbers))
