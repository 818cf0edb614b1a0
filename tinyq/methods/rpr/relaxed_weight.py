"""One weight tensor under RPR: its scales, and which of its entries are relaxed."""
from fractions import Fraction

import numpy as np

from tinyq import kernels
from tinyq.levels import LevelSet
from tinyq.methods.gradient_step import require_finite
from tinyq.methods.least_squares_scale import best_scales, check_distinct
from tinyq.methods.rpr.partition import PartitionQuantizer, UnitQuantizer, relaxed_entries
from tinyq.methods.straight_through import LevelQuantizer
from tinyq.nn import Parameter
from tinyq.streams import Stream


class RelaxedWeight:
    """A latent weight in units of a scale per output filter, whose layer computes with scale * nearest level.

    name: dotted. parameter: holds the latent. level_set: normalised levels. scale: (c_out,) in the latent's dtype.
    relaxed: bool of the latent's shape, the entries that are free during this epoch's steps.
    """

    def __init__(self, name: str, parameter: Parameter, level_set: LevelSet, scale: np.ndarray) -> None:
        """Install the parametrization; nothing is relaxed yet."""
        self.name, self.parameter, self.level_set, self.scale = name, parameter, level_set, scale
        self.relaxed = np.zeros(parameter.shape, bool)
        self._quantizer = UnitQuantizer(level_set, scale)
        self._step_quantizer: UnitQuantizer | PartitionQuantizer = self._quantizer
        self.quantise()

    @classmethod
    def pretrained(cls, name: str, parameter: Parameter, level_set: LevelSet) -> "RelaxedWeight":
        """Find the least-squares scales of a pretrained weight and divide it by them, in place."""
        scale = best_scales(parameter.data, level_set, name)
        check_distinct(name, level_set, scale)
        parameter.data /= scale.reshape(-1, *[1] * (parameter.ndim - 1))
        return cls(name, parameter, level_set, scale)

    def partition(self, stream: Stream, fraction: Fraction) -> None:
        """Draw which entries are relaxed; Diverged if the weight holds a NaN, which has no nearest level."""
        w = self._finite_latent()
        self.relaxed = relaxed_entries(stream, w.shape, fraction)
        self._step_quantizer = self._quantizer
        if fraction < 1:
            self._step_quantizer = PartitionQuantizer(self.relaxed, self._quantizer.nearest(w), self.scale)

    def relax(self) -> None:
        """Let the layer compute with the partition: relaxed entries unchanged, frozen ones at their levels."""
        self.parameter.parametrization = self._step_quantizer

    def quantise(self) -> None:
        """Let the layer compute with the nearest level of every entry."""
        self.parameter.parametrization = self._quantizer

    def quantise_in_place(self) -> None:
        """Replace the latent by the effective weight, in weight units."""
        w = self._finite_latent()
        w[...] = self._quantizer.effective(w)
        self.parameter.parametrization = LevelQuantizer(self.level_set, self.scale)

    def _finite_latent(self):
        w = self.parameter.data
        require_finite(kernels.sum(np.abs(w).reshape(-1), (0,)).item(), f"the sum of weights in {self.name}")
        return w
