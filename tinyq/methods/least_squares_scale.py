"""Find the least-squares scale of levels (RPR eq. 4; methods/README.md, section 2), per filter or per tensor."""
import numpy as np

from tinyq import kernels
from tinyq.errors import BadInput, UsageError
from tinyq.levels import LevelSet


def best_scales(w: np.ndarray, level_set: LevelSet, name: str = "the weight") -> np.ndarray:
    """Return argmin over s > 0 of ||w[c] - s * nearest(w[c] / s)|| for every filter c: (c_out,), in w's dtype.

    The scale is 1 for a filter of zeros, or one whose best s would be 0. BadInput, by name, if w holds a NaN or an
    infinity.
    """
    check_pretrained(w, name)
    return or_one(np.array([best_scale(row, level_set) for row in w.reshape(len(w), -1).astype(np.float64)], w.dtype))


def mean_magnitudes(w: np.ndarray) -> np.ndarray:
    """Return mean |w[c]| of every filter c, (c_out,) in w's dtype; 1 for a filter of zeros."""
    rows = np.abs(w).reshape(len(w), -1)
    return or_one(kernels.sum(rows, (1,)) / w.dtype.type(rows.shape[1]))


def or_one(scales: np.ndarray) -> np.ndarray:
    """Return the scales with 1 in place of 0, and of what is so small that w / scale may overflow."""
    return np.where(scales >= np.finfo(scales.dtype).tiny, scales, scales.dtype.type(1))


def check_pretrained(w: np.ndarray, name: str) -> None:
    """Raise BadInput, by name, if w holds a NaN or an infinity."""
    if not np.isfinite(w).all():
        raise BadInput(f"{name}: its pretrained weights are not all finite; give a trained network")


def check_distinct(name: str, level_set: LevelSet, scale: np.ndarray) -> None:
    """Raise UsageError, by name, if one of the scales (c_out,) makes two levels round to the same number."""
    levels = scale[:, None] * level_set.values.astype(scale.dtype)
    if not (level_set.codes(levels, scale[:, None]) == np.arange(levels.shape[1])).all():
        raise UsageError(f"levels {level_set.name}: multiplied by a scale of {name}, two of them are equal in "
                         f"{levels.dtype}; give levels further apart")


def best_scale(w: np.ndarray, level_set: LevelSet) -> float:
    """Return the exact minimum for one filter w (n,) float64; 0 if no s > 0 is better than s = 0.

    Between two breakpoints s = w_i / midpoint_j every weight keeps its level q_i, and ||w - s q||^2 is a parabola in s
    with its minimum ||w||^2 - A^2 / B at s = A / B, where A = <w, q> and B = <q, q>. Nearest levels minimise the error
    at a given s, so the lowest of all parabolas touches the error itself, at the minimum.
    """
    points, a, b = _breakpoints(w, level_set)
    order = np.argsort(-points, kind="stable")              # s falls from infinity, where w / s is next to 0
    code = level_set.midpoints.searchsorted(0, side="left")
    above = level_set.midpoints.searchsorted(0, side="right")
    q = level_set.values[np.where(w > 0, above, code)]
    a = np.cumsum(np.concatenate([[_sum(w * q)], a[order]]))       # in ascending order
    b = np.cumsum(np.concatenate([[_sum(q * q)], b[order]]))
    possible = (a > 0) & (b > 0)
    gain = np.divide(a, b, out=np.zeros_like(a), where=possible) * a
    best = gain.argmax()
    return float(a[best] / b[best]) if gain[best] > 0 else 0.0


def _breakpoints(w, level_set):
    """Return flat arrays (s, change of A, change of B): one entry per midpoint that a w / s passes as s falls to 0."""
    points, a, b = [], [], []
    for midpoint, low, high in zip(level_set.midpoints, level_set.values, level_set.values[1:], strict=False):
        if midpoint != 0:                                   # 0 is never passed: w / s keeps its sign
            to, origin = (high, low) if midpoint > 0 else (low, high)
            passing = w[w > 0] if midpoint > 0 else w[w < 0]
            points.append(passing / midpoint)
            a.append(passing * (to - origin))
            b.append(np.full(passing.shape, to * to - origin * origin))
    return tuple(np.concatenate([[], *parts]) for parts in (points, a, b))


def _sum(x):
    return kernels.sum(x, (0,)).item()
