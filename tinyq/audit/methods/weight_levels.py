"""Weights against their levels: the nearest one by distances in float64, and counts of level changes."""
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from tinyq import kernels
from tinyq.levels import LevelSet
from tinyq.nn import Parameter


class QuantisedWeight(Protocol):
    """Public state of a weight that a method constrains."""

    name: str
    parameter: Parameter
    level_set: LevelSet
    scale: np.ndarray


def nearest(w: np.ndarray, scale: np.ndarray | float, level_set: LevelSet) -> np.ndarray:
    """Return the level nearest to w / scale, ties to the lower one, by distances in float64, without thresholds."""
    x = w.astype(np.float64) / np.asarray(scale, np.float64)
    distances = np.abs(x[..., None] - level_set.values)
    return level_set.values[distances.argmin(-1)]           # the first of several equal ones is the lower


def is_near_a_midpoint(w: np.ndarray, scale: np.ndarray | float, level_set: LevelSet) -> np.ndarray:
    """Return True where rounding may decide which level is nearest."""
    x = w.astype(np.float64) / np.asarray(scale, np.float64)
    return (np.abs(x[..., None] - level_set.midpoints) < 1e-6).any(-1)


class LevelChanges:
    """Count the weights whose nearest level has changed since the last count."""

    def __init__(self, weights: Sequence[QuantisedWeight], thresholds: list[np.ndarray]) -> None:
        """thresholds: per weight, where the nearest level changes, as kernels.recode takes them."""
        self.weights, self.thresholds = weights, thresholds
        self.codes = [np.zeros(weight.parameter.shape, np.uint8) for weight in weights]
        self.count()

    def count(self) -> int:
        """Return the number of changes over all weights, and begin the next count."""
        return sum(int(kernels.recode(weight.parameter.data, thresholds, codes))
                   for weight, thresholds, codes in zip(self.weights, self.thresholds, self.codes, strict=True))
