"""One weight tensor under RPR: its scales, its partition, and what the layer is shown of it."""
import numpy as np

from tinyq import kernels
from tinyq.errors import UsageError
from tinyq.methods.base import require_finite
from tinyq.methods.least_squares_scale import best_scales
from tinyq.methods.rpr.partition import PartitionView, UnitView, relaxed_entries
from tinyq.methods.straight_through import LevelView


class Relaxed:
    """One constrained weight tensor; its latent is in units of a scale of each output filter."""

    def __init__(self, name, parameter):
        """Nothing is changed yet."""
        self.name, self.parameter = name, parameter

    @property
    def scale(self):
        """The scales, (c_out,)."""
        return self.unit_view.scale

    def rescale(self, level_set):
        """Find the scales and divide the weight by them, in place; the shown network function stays the same."""
        scale = best_scales(self.parameter.data, level_set, self.name)
        self._refuse_indistinct(level_set, scale)
        self.parameter.data /= scale.reshape(-1, *[1] * (self.parameter.ndim - 1))
        self.constrain(level_set, scale)

    def constrain(self, level_set, scale):
        """Show the layer scale * nearest level from now on."""
        self.unit_view = self.step_view = UnitView(level_set, scale)
        self.relaxed = np.zeros(self.parameter.shape, bool)
        self.quantise()

    def partition(self, stream, fraction):
        """Draw which entries are relaxed; Diverged if the weight holds a NaN, which has no nearest level."""
        w = self._finite_latent()
        self.relaxed = relaxed_entries(stream, w.shape, fraction)
        self.step_view = self.unit_view
        if fraction < 1:
            self.step_view = PartitionView(self.relaxed, self.unit_view.nearest(w), self.scale)

    def relax(self):
        """Show the layer the relaxed entries as they are."""
        self.parameter.parametrization = self.step_view

    def quantise(self):
        """Show the layer the nearest level of every entry."""
        self.parameter.parametrization = self.unit_view

    def settle(self):
        """Replace the latent by the shown weight, in its own units."""
        w = self._finite_latent()
        w[...] = self.unit_view.shown(w)
        self.parameter.parametrization = LevelView(self.unit_view.level_set, self.scale)

    def _finite_latent(self):
        w = self.parameter.data
        require_finite(kernels.sum(np.abs(w).reshape(-1), (0,)).item(), f"the sum of weights in {self.name}")
        return w

    def _refuse_indistinct(self, level_set, scale):
        """UsageError if a scale makes two levels one in rounding."""
        levels = scale[:, None] * level_set.values.astype(scale.dtype)
        if not (level_set.codes(levels, scale[:, None]) == np.arange(levels.shape[1])).all():
            raise UsageError(f"--levels {level_set.name}: times a scale of {self.name} two of them are the same "
                             f"{levels.dtype}; give levels further apart")
