"""Compare weights with their levels: the nearest level; CBP's constraint function (methods/README.md, sections 0, 1).

Both walk the levels upwards; every threshold overwrites the entries beyond it. This needs no search and no table,
only one vector instruction per comparison.
"""
import numpy as np

from tinyq.kernels.geometry.spans import flat
from tinyq.kernels.jit.compile import njit

BLOCK = 1024                            # elements walked at a time: 4 KiB per array, in the first-level cache
ZERO, TWO = np.float32(0), np.float32(2)


def nearest_level(w: np.ndarray, thresholds: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return each weight's level: levels[number of thresholds below w], of w's shape and dtype; NaN gives levels[0].

    thresholds: (n - 1,) ascending, or (c_out, n - 1), one row per w[c]; levels: (n,) ascending.
    """
    y = np.empty(w.shape, np.float32)
    rows = thresholds.reshape(-1, thresholds.shape[-1])
    _nearest(flat(w).reshape(len(rows), -1), rows, levels, y.reshape(len(rows), -1))
    return y


def constraint(w: np.ndarray, levels: np.ndarray, rise_end: np.ndarray,
               fall_start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute CBP's constraint function and its slope (cs, cs') of w's shape and dtype; cs >= 0, cs' in {-2, 0, 2}.

    levels (n,): q_1 < ... < q_n in the weights' units. The tent over q_i <= w < q_(i+1) rises up to
    rise_end[i], falls from fall_start[i] on, and is 0 between the two: the unconstrained window.
    """
    cs, slope = np.empty(w.shape, np.float32), np.empty(w.shape, np.float32)
    _constraint(flat(w), levels, rise_end, fall_start, cs.reshape(-1), slope.reshape(-1))
    return cs, slope


def recode(w: np.ndarray, thresholds: np.ndarray, codes: np.ndarray) -> int:
    """Set codes (uint8, w's shape, C-contiguous) to the number of thresholds below each weight; count the changes.

    thresholds: as for nearest_level.
    """
    rows = thresholds.reshape(-1, thresholds.shape[-1])
    return _recode(flat(w).reshape(len(rows), -1), rows, codes.reshape(len(rows), -1))


@njit
def _recode(w, thresholds, codes):
    changed, found = 0, np.empty(BLOCK, np.uint8)
    for row in range(w.shape[0]):
        for start in range(0, w.shape[1], BLOCK):
            block, old = w[row, start : start + BLOCK], codes[row, start : start + BLOCK]
            found[:] = 0
            for j in range(thresholds.shape[1]):
                threshold = thresholds[row, j]
                for i in range(block.size):
                    found[i] += block[i] > threshold
            different = 0
            for i in range(block.size):
                different += found[i] != old[i]
                old[i] = found[i]
            changed += different
    return changed


@njit
def _nearest(w, thresholds, levels, y):
    for row in range(w.shape[0]):
        for start in range(0, w.shape[1], BLOCK):
            block, out = w[row, start : start + BLOCK], y[row, start : start + BLOCK]
            out[:] = levels[0]
            for j in range(thresholds.shape[1]):
                threshold, level = thresholds[row, j], levels[j + 1]
                for i in range(block.size):
                    out[i] = level if block[i] > threshold else out[i]


@njit
def _constraint(w, levels, rise_end, fall_start, cs, slope):
    for start in range(0, w.size, BLOCK):
        block, c, s = w[start : start + BLOCK], cs[start : start + BLOCK], slope[start : start + BLOCK]
        for i in range(block.size):
            c[i] = TWO * abs(block[i] - levels[0])
            s[i] = -TWO if block[i] < levels[0] else TWO
        for j in range(rise_end.size):
            level, end, begin = levels[j + 1], rise_end[j], fall_start[j]
            for i in range(block.size):
                x = block[i]
                far = ZERO if x > end else c[i]
                c[i] = TWO * abs(x - level) if x >= begin else far
                flat_or_before = ZERO if x >= end else s[i]
                within = -TWO if x >= begin else flat_or_before
                s[i] = TWO if x >= level else within
