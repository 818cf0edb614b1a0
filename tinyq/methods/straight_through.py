"""Parametrize a weight by its nearest level, with the straight-through gradient of the latent weight."""
from dataclasses import dataclass, field

import numpy as np

from tinyq import kernels
from tinyq.autodiff import Tensor, primitive
from tinyq.autodiff.primitives import OutputAndVJPs
from tinyq.levels import LevelSet, rounded_down


def per_unit_of_scale(w: np.ndarray, *, scale: np.ndarray, thresholds: np.ndarray | None = None,
                      levels: np.ndarray | None = None) -> np.ndarray:
    """Return w / scale, whose derivative straight_through uses instead of its own, which is 0 almost everywhere."""
    return w / scale


@primitive(surrogate=per_unit_of_scale)
def straight_through(w: np.ndarray, *, scale: np.ndarray, thresholds: np.ndarray, levels: np.ndarray) -> OutputAndVJPs:
    """Return the level nearest to w / scale; the backward pass uses the derivative of w / scale.

    A layer computes y = scale * (x * q), so the gradient that reaches q is scale * W, with W the gradient with
    respect to the effective weight scale * q; w receives W itself (methods/README.md, section 0).
    """
    return kernels.nearest_level(w, thresholds, levels), (lambda g: g / scale,)


@dataclass(frozen=True, eq=False)
class LevelQuantizer:
    """Parametrization of a latent weight in weight units: (nearest level, scale), with a straight-through gradient.

    scale: float array, () for one per tensor or (c_out,) for one per output filter.
    """

    level_set: LevelSet
    scale: np.ndarray
    _constants: dict = field(default_factory=dict, init=False, repr=False)

    def __call__(self, latent: Tensor) -> tuple[Tensor, np.ndarray]:
        """Return (levels, a Tensor of the latent's shape; scale, an array (c_out,))."""
        scale, thresholds, levels, per_filter = self._constants_for(latent.data)
        quantised = straight_through(latent, scale=scale, thresholds=thresholds, levels=levels)
        return quantised, per_filter

    def codes(self, latent: np.ndarray) -> np.ndarray:
        """Return indices into the ascending levels, uint8 of the shape of the array `latent`."""
        return self.level_set.codes(latent, self._scale(latent))

    def normalised(self, latent: np.ndarray) -> np.ndarray:
        """Return the latent in units of the scale."""
        return latent / self._scale(latent)

    def effective(self, latent: np.ndarray) -> np.ndarray:
        """Return the weight that the layer computes with, scale * level, in the dtype of the array `latent`."""
        return self._scale(latent) * self.level_set.values.astype(latent.dtype)[self.codes(latent)]

    def _constants_for(self, latent):
        """Return (scale to divide by, thresholds, levels, scale (c_out,)) in the latent's dtype; cached by shape."""
        key = latent.dtype, latent.shape
        if key not in self._constants:
            thresholds = np.multiply.outer(np.asarray(self.scale, np.float64), self.level_set.midpoints)
            self._constants[key] = (self._scale(latent), rounded_down(thresholds, latent.dtype),
                                    self.level_set.values.astype(latent.dtype),
                                    np.full(latent.shape[0], self.scale, latent.dtype))
        return self._constants[key]

    def _scale(self, latent):
        """Return the scale in the latent's dtype, with as many axes as the latent."""
        return self.scale.astype(latent.dtype).reshape(-1, *[1] * (latent.ndim - 1))
