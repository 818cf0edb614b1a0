"""One weight tensor that CBP holds to its levels: what the layer shows, its multipliers, its constraint function."""
import math

import numpy as np

from tinyq import kernels
from tinyq.autodiff import Tensor
from tinyq.errors import BadInput, TinyqError, UsageError
from tinyq.methods.base import require_finite
from tinyq.methods.cbp.constraint import CLOSED, sawtooth
from tinyq.methods.straight_through import LevelView

BOUND = 1.0                             # latent weights are clamped to [-BOUND, BOUND]


class ConstrainedWeight:
    """One constrained weight tensor: its view, its absolute levels, its multipliers and its constraint function."""

    def __init__(self, name, parameter):
        """Multipliers start at 0."""
        self.name, self.parameter = name, parameter
        self.multiplier = Tensor(np.zeros_like(parameter.data))
        self.set_multiplier(self.multiplier.data)

    @property
    def scale(self):
        """The scale a as a float."""
        return float(self.view.scale)

    def mean_magnitude(self):
        """The scale a = mean |w|, () in the weights' dtype; BadInput if there is none above 0."""
        w = self.parameter.data
        scale = np.asarray(_sum(np.abs(w)) / w.size, w.dtype)
        if not 0 < scale < math.inf:
            raise BadInput(f"{self.name}: the mean magnitude of its pretrained weights is {scale}, which is no scale "
                           "for levels; give a trained network (--weights FILE or --pretrain-epochs N)")
        return scale

    def constrain(self, level_set, scale):
        """Show the layer scale * nearest level from now on."""
        self.view = self.parameter.parametrization = LevelView(level_set, scale)
        self.levels = scale * level_set.values.astype(scale.dtype)

    def refuse_unreachable(self):
        """UsageError if a level lies where the clamp lets no weight go, or if two become one in rounding."""
        largest = float(np.abs(self.levels).max())
        level_set = self.view.level_set
        times = f"--levels {level_set.name}: times {self.scale:.4g}, the scale of {self.name},"
        if largest > BOUND:
            raise UsageError(f"{times} they reach {largest:.4g}, but CBP clamps weights to [-{BOUND:g}, {BOUND:g}]; "
                             f"give levels of magnitude up to {BOUND / self.scale:.4g}")
        if not np.array_equal(level_set.codes(self.levels, self.view.scale), np.arange(len(self.levels))):
            raise UsageError(f"{times} two of them are the same {self.levels.dtype}; give levels further apart")

    def add_force(self):
        """Add lambda cs' to the weight's gradient; returns the sum of lambda cs as a float."""
        cs, slope = self.sawtooth(self.parameter.data)
        term = _sum(self.multiplier.data * cs)
        require_finite(term, f"the constraint term of {self.name}")
        hold(cs.min() >= 0, self.name, "cs is negative")
        hold(not (slope * (slope * slope - 4)).any(), self.name, "the slope of cs is not -2, 0 or 2")
        slope *= self.multiplier.data
        if self.parameter.grad is None:                 # the loss does not depend on this weight
            self.parameter.grad = slope
        else:
            self.parameter.grad += slope
        return term

    def failure_sum(self):
        """The sum of cs with the window closed."""
        return _sum(sawtooth(self.levels, CLOSED)(self.parameter.data)[0])

    def set_multiplier(self, array):
        """Take new multipliers, which nothing can write to before the next are set."""
        array.flags.writeable = False
        self.multiplier.data = array

    def settle(self):
        """Replace the latent weight by the shown one; Diverged if it holds a NaN, which has no nearest level."""
        require_finite(_sum(np.abs(self.parameter.data)), f"the sum of weights in {self.name}")
        self.parameter.data[...] = self.view.shown(self.parameter.data)


def _sum(x):
    """The sum of an array's entries as a float, in the fixed order of the numeric contract."""
    return kernels.sum(x.reshape(-1), (0,)).item()


def hold(condition, name, what):
    """TinyqError unless an invariant of the method holds."""
    if not condition:
        raise TinyqError(f"cbp: {name}: {what}; this is a fault in tinyq")
