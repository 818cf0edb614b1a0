"""References of the kernels that compare weights with their levels."""
import numpy as np


def nearest_level(w: np.ndarray, thresholds: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """The level of each weight: levels[number of thresholds below w], of w's shape and dtype; NaN gives levels[0]."""
    y = np.full(w.shape, levels[0], w.dtype)
    for j, level in enumerate(levels[1:]):
        threshold = thresholds[..., j].reshape(-1, *[1] * (w.ndim - 1)) if thresholds.ndim > 1 else thresholds[j]
        y = np.where(w > threshold, level, y)
    return y


def constraint(w: np.ndarray, levels: np.ndarray, rise_end: np.ndarray,
               fall_start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """CBP's constraint function and its slope: (cs, cs'), both of w's shape and dtype; cs >= 0, cs' in {-2, 0, 2}."""
    two = w.dtype.type(2)
    cs, slope = two * np.abs(w - levels[0]), np.where(w < levels[0], -two, two)
    for level, end, begin in zip(levels[1:], rise_end, fall_start, strict=True):
        cs = np.where(w >= begin, two * np.abs(w - level), np.where(w > end, 0, cs))
        slope = np.where(w >= level, two, np.where(w >= begin, -two, np.where(w >= end, 0, slope)))
    return cs, slope


def recode(w: np.ndarray, thresholds: np.ndarray, codes: np.ndarray) -> int:
    """Make codes the number of thresholds below each weight, in place; returns how many changed."""
    before = codes.copy()
    codes[...] = 0
    for j in range(thresholds.shape[-1]):
        codes += w > (thresholds[:, j].reshape(-1, *[1] * (w.ndim - 1)) if thresholds.ndim > 1 else thresholds[j])
    return int((codes != before).sum())
