"""RPR's partition of a weight tensor: frozen entries show their nearest level, relaxed ones themselves (RPR eq. 3)."""
import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from tinyq import kernels
from tinyq.autodiff import Tensor, primitive
from tinyq.levels import LevelSet, rounded_down


def frozen_count(fraction, n):
    """floor(fraction * n + 1/2), exact when the fraction is a Fraction."""
    return math.floor(fraction * n + Fraction(1, 2))


def relaxed_entries(stream, shape, fraction):
    """A random partition, bool of `shape`: False at exactly frozen_count entries, True at the relaxed others."""
    n = math.prod(shape)
    relaxed = np.ones(n, bool)
    relaxed[stream.permutation(n)[: frozen_count(fraction, n)]] = False
    return relaxed.reshape(shape)


@primitive
def part_frozen(w, *, relaxed, levels):
    """w at the relaxed entries and `levels`, constants, at the others; all of w's shape."""
    return np.where(relaxed, w, levels), (lambda g: np.where(relaxed, g, 0),)


@dataclass(frozen=True, eq=False)
class UnitView:
    """A parameter's view: its latent weight, in units of the scale, appears as (nearest level, scale); no gradient.

    scale: (c_out,), one for every output filter.
    """

    level_set: LevelSet
    scale: np.ndarray

    def __call__(self, latent):
        """(levels as a Tensor of the latent's shape, scale as an array (c_out,))."""
        return Tensor(self.nearest(latent.data)), self.scale

    def nearest(self, latent):
        """The level nearest to each entry of the array `latent`, in its dtype."""
        thresholds = rounded_down(self.level_set.midpoints, latent.dtype)
        return kernels.nearest_level(latent, thresholds, self.level_set.values.astype(latent.dtype))

    def normalised(self, latent):
        """The latent in units of the scale: as it is."""
        return latent

    def shown(self, latent):
        """The weight the layer computes with, scale * level."""
        return self.scale.reshape(-1, *[1] * (latent.ndim - 1)) * self.nearest(latent)


@dataclass(frozen=True, eq=False)
class PartitionView:
    """The view for the steps of one epoch: some entries relaxed, the others frozen at `levels`.

    A frozen latent does not move, so its level is found once.
    """

    relaxed: np.ndarray
    levels: np.ndarray
    scale: np.ndarray

    def __call__(self, latent):
        """(part_frozen as a Tensor of the latent's shape, scale as an array (c_out,))."""
        return part_frozen(latent, relaxed=self.relaxed, levels=self.levels), self.scale
