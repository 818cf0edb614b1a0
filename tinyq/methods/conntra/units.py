"""Choose the units in which a network is computed in integers: of inputs, levels, and each stage's bias."""
import math
from dataclasses import dataclass

import numpy as np

from tinyq.levels import Levels
from tinyq.methods.conntra.chain import Stage

FINEST = 256                    # inputs and levels may be multiples of 1/256
MAX_INPUT = 2**15
EXACT_BOUND = 2**53             # below it float64 holds every integer


@dataclass(frozen=True, eq=False)
class Units:
    """Units of one network.

    inputs: number of the integer network that stands for an input of 1. levels: (n, 2 * stages) float64, factors of
    each stage's product, then of its batch norm, 0 behind the last; sizes: (2 * stages,) int64, how many they are.
    bias_units: (stages,) float64, what a bias of level 1 adds to a stage's sums. bounds: largest magnitudes of each
    stage's sums, for any inputs and levels. exact: True if everything is an integer below 2**53; otherwise numbers are
    float64 in units of the input. logits: number that stands for a logit of 1, without the scales.
    """

    inputs: int
    levels: np.ndarray
    sizes: np.ndarray
    bias_units: np.ndarray
    bounds: list[float]
    exact: bool
    logits: float

    def of(self, x: np.ndarray) -> np.ndarray:
        """Convert inputs (samples, features) to these units: float64, whole numbers if exact."""
        return x.reshape(len(x), -1).astype(np.float64) * self.inputs


def integer_units(stages: list[Stage], levels: Levels, x: np.ndarray) -> Units:
    """Choose units for a chain of stages, their levels and the inputs x (samples, ...)."""
    sets = [stage.sets(levels) for stage in stages]
    inputs, finest = _whole(x), [_whole(of_product.values) or 0 for of_product, _ in sets]
    if inputs and all(finest) and not any(stage.norm for stage in stages):
        units = _units(stages, sets, inputs, finest, np.abs(x).max() * inputs)
        if np.abs(x).max() * inputs <= MAX_INPUT and units.bounds[-1] < EXACT_BOUND:
            return units
    return _units(stages, sets, 1, [1] * len(stages), np.abs(x).max(), exact=False)


def _units(stages, sets, inputs, finest, largest, exact=True):
    """finest: number of the integer network that stands for a level of 1, of each stage."""
    levels, sizes = _table([factors for (of_product, of_norm), fine in zip(sets, finest, strict=True)
                            for factors in (of_product.values * fine, of_norm.values)])
    bias_units = np.array([float(math.prod(finest[:k])) for k in range(len(stages))])
    bounds = []
    for k, (stage, unit) in enumerate(zip(stages, bias_units, strict=True)):
        c_out, c_in, kh, kw = stage.kernel
        most = np.abs(levels[:, 2 * k]).max()
        largest = most * (c_in * kh * kw * largest + unit) * stage.summed
        bounds.append(float(largest))
    return Units(inputs, levels, sizes, bias_units, bounds, exact, inputs * float(math.prod(finest)))


def _table(columns):
    """Return (columns side by side, 0 behind the last entry of each; their lengths)."""
    table = np.zeros((max(map(len, columns)), len(columns)))
    for column, values in zip(table.T, columns, strict=True):
        column[:len(values)] = values
    return table, np.array([len(values) for values in columns], np.int64)


def _whole(x):
    """Return the smallest power of two, up to FINEST, that makes every number of x whole; None if there is none."""
    unit = 1
    while unit <= FINEST:
        if (np.floor(x * x.dtype.type(unit)) == x * x.dtype.type(unit)).all():
            return unit
        unit *= 2
    return None
