"""In which units a network is computed in integers: its inputs, its levels, its biases, stage by stage."""
from dataclasses import dataclass

import numpy as np

FINEST = 256                    # inputs may be multiples of 1/256, levels too
MAX_INPUT = 2**15
EXACT_BOUND = 2**53             # below it float64 holds every integer


@dataclass(frozen=True, eq=False)
class Units:
    """inputs: how many units of the integer network make 1. levels: (n,) float64, as it multiplies by them.

    bias_units: (stages,) float64, what a bias of level 1 (one unit of the input) adds to a stage's sums. bounds: of
    each stage's sums, over all inputs and assignments of levels. exact: everything is an integer below 2**53; where
    not, it is float64 in the units of the input.
    """

    inputs: int
    levels: np.ndarray
    bias_units: np.ndarray
    bounds: list[float]
    exact: bool
    logits: float                       # units of the integer network that make 1 of the logits, scales left out

    def of(self, x):
        """Inputs (samples, features) in these units: float64, whole numbers if exact."""
        return x.reshape(len(x), -1).astype(np.float64) * self.inputs


def integer_units(stages, level_set, x):
    """The units for a chain of stages, a LevelSet and the inputs x (samples, ...)."""
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
    """The smallest power of two, up to FINEST, that makes every number of x whole; None if there is none."""
    unit = 1
    while unit <= FINEST:
        if (np.floor(x * x.dtype.type(unit)) == x * x.dtype.type(unit)).all():
            return unit
        unit *= 2
    return None
