"""Choose the units in which a network is computed in integers: of inputs, levels, and each stage's bias."""
from dataclasses import dataclass

import numpy as np

from tinyq.levels import LevelSet
from tinyq.methods.conntra.chain import Stage

FINEST = 256                    # inputs and levels may be multiples of 1/256
MAX_INPUT = 2**15
EXACT_BOUND = 2**53             # below it float64 holds every integer


@dataclass(frozen=True, eq=False)
class Units:
    """Units of one network.

    inputs: number of the integer network that stands for an input of 1. levels: (n,) float64, factors of the products.
    bias_units: (stages,) float64, what a bias of level 1 adds to a stage's sums. bounds: largest magnitudes of each
    stage's sums, for any inputs and levels. exact: True if everything is an integer below 2**53; otherwise numbers are
    float64 in units of the input. logits: number that stands for a logit of 1, without the scales.
    """

    inputs: int
    levels: np.ndarray
    bias_units: np.ndarray
    bounds: list[float]
    exact: bool
    logits: float

    def of(self, x: np.ndarray) -> np.ndarray:
        """Convert inputs (samples, features) to these units: float64, whole numbers if exact."""
        return x.reshape(len(x), -1).astype(np.float64) * self.inputs


def integer_units(stages: list[Stage], level_set: LevelSet, x: np.ndarray) -> Units:
    """Choose units for a chain of stages, a LevelSet and the inputs x (samples, ...)."""
    inputs, finest = _whole(x), _whole(level_set.values)
    if inputs and finest and not any(stage.norm for stage in stages):
        units = _units(stages, level_set.values * finest, inputs, finest, np.abs(x).max() * inputs)
        if np.abs(x).max() * inputs <= MAX_INPUT and units.bounds[-1] < EXACT_BOUND:
            return units
    return _units(stages, level_set.values, 1, 1, np.abs(x).max(), exact=False)


def _units(stages, levels, inputs, finest, largest, exact=True):
    bias_units = np.array([float(finest) ** k for k in range(len(stages))])
    bounds, most = [], np.abs(levels).max()
    for stage, unit in zip(stages, bias_units, strict=True):
        c_out, c_in, kh, kw = stage.kernel
        largest = most * (c_in * kh * kw * largest + unit) * stage.summed
        bounds.append(float(largest))
    return Units(inputs, levels, bias_units, bounds, exact, inputs * float(finest) ** len(stages))


def _whole(x):
    """Return the smallest power of two, up to FINEST, that makes every number of x whole; None if there is none."""
    unit = 1
    while unit <= FINEST:
        if (np.floor(x * x.dtype.type(unit)) == x * x.dtype.type(unit)).all():
            return unit
        unit *= 2
    return None
