"""One weight tensor under CBP: its scale, its levels, its multipliers and its constraint function."""
import math

import numpy as np

from tinyq import kernels
from tinyq.autodiff import Tensor
from tinyq.errors import BadInput, UsageError
from tinyq.levels import LevelSet
from tinyq.methods.cbp.constraint import CLOSED, sawtooth
from tinyq.methods.gradient_step import require_finite
from tinyq.methods.straight_through import LevelQuantizer
from tinyq.nn import Parameter

BOUND = 1.0                             # latent weights are clamped to [-BOUND, BOUND]


class ConstrainedWeight:
    """A latent weight w in weight units, whose layer computes with scale * nearest level.

    name: dotted. parameter: holds w. level_set: normalised levels. scale: a, () in w's dtype. levels: (n,), times a.
    multiplier: lambda, of w's shape, read-only between updates. sawtooth: the constraint function, at this window.
    """

    def __init__(self, name: str, parameter: Parameter, level_set: LevelSet, scale: np.ndarray,
                 multiplier: np.ndarray, g: int) -> None:
        """Install the parametrization; g: window parameter."""
        self.name, self.parameter, self.level_set, self.scale = name, parameter, level_set, scale
        self.levels = scale * level_set.values.astype(scale.dtype)
        self.quantizer = parameter.parametrization = LevelQuantizer(level_set, scale)
        self.multiplier = Tensor(multiplier)
        self.set_multiplier(multiplier)
        self.set_window(g)
        self._closed = sawtooth(self.levels, CLOSED)

    @classmethod
    def pretrained(cls, name: str, parameter: Parameter, level_set: LevelSet, g: int) -> "ConstrainedWeight":
        """Take the scale mean |w| of a pretrained weight, multipliers 0; UsageError if the levels do not fit it."""
        weight = cls(name, parameter, level_set, _mean_magnitude(name, parameter.data),
                     np.zeros_like(parameter.data), g)
        weight._check_levels()
        return weight

    def set_window(self, g: float) -> None:
        """Use the constraint function of window parameter g."""
        self.sawtooth = sawtooth(self.levels, g)

    def set_multiplier(self, array: np.ndarray) -> None:
        """Replace the multipliers; the new array becomes read-only."""
        array.flags.writeable = False
        self.multiplier.data = array

    def add_force(self) -> float:
        """Add lambda cs'(w) to the weight's gradient; return the sum of lambda cs(w)."""
        cs, slope = self.sawtooth(self.parameter.data)
        term = _sum(self.multiplier.data * cs)
        require_finite(term, f"the constraint term of {self.name}")
        slope *= self.multiplier.data
        if self.parameter.grad is None:                 # the loss does not depend on this weight
            self.parameter.grad = slope
        else:
            self.parameter.grad += slope
        return term

    def failure_sum(self) -> float:
        """Return the sum of cs with the window closed."""
        return _sum(self._closed(self.parameter.data)[0])

    def quantise_in_place(self) -> None:
        """Replace the latent weight by scale * nearest level; Diverged if it holds a NaN."""
        require_finite(_sum(np.abs(self.parameter.data)), f"the sum of weights in {self.name}")
        self.parameter.data[...] = self.quantizer.effective(self.parameter.data)

    def _check_levels(self):
        """Raise UsageError if a level lies beyond the clamp, or if two of them round to the same number."""
        largest, scale = float(np.abs(self.levels).max()), float(self.scale)
        times = f"levels {self.level_set.name}: multiplied by {scale:.4g}, the scale of {self.name},"
        if largest > BOUND:
            raise UsageError(f"{times} they reach {largest:.4g}, but CBP clamps weights to [-{BOUND:g}, {BOUND:g}]; "
                             f"give levels of magnitude up to {BOUND / scale:.4g}")
        if not np.array_equal(self.level_set.codes(self.levels, self.scale), np.arange(len(self.levels))):
            raise UsageError(f"{times} two of them are equal in {self.levels.dtype}; give levels further apart")


def _mean_magnitude(name, w):
    """Return mean |w| as an array () in w's dtype; BadInput unless it is above 0 and finite."""
    scale = np.asarray(_sum(np.abs(w)) / w.size, w.dtype)
    if not 0 < scale < math.inf:
        raise BadInput(f"{name}: the mean magnitude of its pretrained weights is {scale}, but a scale must be "
                       "above 0 and finite; start from a trained network")
    return scale


def _sum(x):
    """Return the sum of an array's entries as a float, in the fixed order of the numeric contract."""
    return kernels.sum(x.reshape(-1), (0,)).item()
