"""CBP's constraint function (methods/README.md, section 1): 0 on the levels and in a window around each midpoint."""
import math
from dataclasses import dataclass

import numpy as np

from tinyq import kernels

CLOSED = math.inf                       # window parameter at which the unconstrained window is closed


@dataclass(frozen=True, eq=False)
class Sawtooth:
    """cs of one weight tensor at one window parameter; arrays in weight units and the weight's dtype.

    levels: (n,), q_1 < ... < q_n. The tent over [q_i, q_(i+1)) rises with slope 2 from q_i to rise_end[i], is 0 up to
    fall_start[i] and falls with slope -2 from there to q_(i+1). Outside the levels |slope| is 2.
    """

    levels: np.ndarray
    rise_end: np.ndarray
    fall_start: np.ndarray

    def __call__(self, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (cs(w), cs'(w)), both of w's shape and dtype."""
        return kernels.constraint(w, self.levels, self.rise_end, self.fall_start)


def sawtooth(levels: np.ndarray, g: float) -> Sawtooth:
    """Make the constraint function for absolute levels (n,) and window parameter g >= 1.

    The window reaches (m_i - q_i) / g to either side of the midpoint m_i: from level to level at g = 1, nowhere at
    CLOSED.
    """
    q = levels.astype(np.float64)
    lower, upper = q[:-1], q[1:]
    middle, u = (lower + upper) / 2, 1 - 1 / g
    rise_end, fall_start = lower + (middle - lower) * u, upper + (middle - upper) * u
    return Sawtooth(levels, rise_end.astype(levels.dtype), fall_start.astype(levels.dtype))
