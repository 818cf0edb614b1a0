"""Partition a weight tensor at random: frozen entries at their nearest level, relaxed ones free (RPR eq. 3)."""
import math
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from tinyq import kernels
from tinyq.autodiff import Tensor, primitive
from tinyq.autodiff.primitives import OutputAndVJPs
from tinyq.levels import LevelSet, rounded_down
from tinyq.streams import Stream


def frozen_count(fraction: Fraction | float, n: int) -> int:
    """Return floor(fraction * n + 1/2); exact if the fraction is a Fraction."""
    return math.floor(fraction * n + Fraction(1, 2))


def relaxed_entries(stream: Stream, shape: tuple[int, ...], fraction: Fraction | float) -> np.ndarray:
    """Draw a random partition, bool of `shape`: False at exactly frozen_count entries, True at the others, relaxed."""
    n = math.prod(shape)
    relaxed = np.ones(n, bool)
    relaxed[stream.permutation(n)[: frozen_count(fraction, n)]] = False
    return relaxed.reshape(shape)


@primitive
def part_frozen(w: np.ndarray, *, relaxed: np.ndarray, levels: np.ndarray) -> OutputAndVJPs:
    """Return w at the relaxed entries and the constants `levels` at the others; all have w's shape."""
    return np.where(relaxed, w, levels), (lambda g: np.where(relaxed, g, 0),)


@dataclass(frozen=True, eq=False)
class UnitQuantizer:
    """Parametrization of a latent weight in units of the scale: (nearest level, scale), without a gradient.

    scale: (c_out,), one per output filter.
    """

    level_set: LevelSet
    scale: np.ndarray
    _constants: dict = field(default_factory=dict, init=False, repr=False)

    def __call__(self, latent: Tensor) -> tuple[Tensor, np.ndarray]:
        """Return (levels, a Tensor of the latent's shape; scale, an array (c_out,))."""
        return Tensor(self.nearest(latent.data)), self.scale

    def nearest(self, latent: np.ndarray) -> np.ndarray:
        """Return the level nearest to each entry of the array `latent`, in its dtype."""
        if latent.dtype not in self._constants:
            self._constants[latent.dtype] = (rounded_down(self.level_set.midpoints, latent.dtype),
                                             self.level_set.values.astype(latent.dtype))
        return kernels.nearest_level(latent, *self._constants[latent.dtype])

    def codes(self, latent: np.ndarray) -> np.ndarray:
        """Return indices into the ascending levels, uint8 of the shape of the array `latent`."""
        return self.level_set.codes(latent)

    def normalised(self, latent: np.ndarray) -> np.ndarray:
        """Return the latent, which is in units of the scale already."""
        return latent

    def effective(self, latent: np.ndarray) -> np.ndarray:
        """Return the weight that the layer computes with, scale * level."""
        return self.scale.reshape(-1, *[1] * (latent.ndim - 1)) * self.nearest(latent)


@dataclass(frozen=True, eq=False)
class PartitionQuantizer:
    """Parametrization for the steps of one epoch: relaxed entries unchanged, frozen ones at `levels`.

    A frozen latent does not move, so its level is computed once.
    """

    relaxed: np.ndarray
    levels: np.ndarray
    scale: np.ndarray

    def __call__(self, latent: Tensor) -> tuple[Tensor, np.ndarray]:
        """Return (part_frozen, a Tensor of the latent's shape; scale, an array (c_out,))."""
        return part_frozen(latent, relaxed=self.relaxed, levels=self.levels), self.scale
