"""Parametrize a weight by its nearest level, with the straight-through gradient of the latent weight."""
from dataclasses import dataclass, field

import numpy as np

from tinyq import kernels
from tinyq.autodiff import Tensor, primitive
from tinyq.autodiff.primitives import OutputAndVJPs
from tinyq.levels import LevelSet, rounded_down


def per_unit_of_scale(w: np.ndarray, *, scale: np.ndarray, thresholds: np.ndarray | None = None,
                      levels: np.ndarray | None = None, slope: np.ndarray | None = None) -> np.ndarray:
    """Return slope * w / scale, whose derivative straight_through uses instead of its own, 0 almost everywhere."""
    return w / scale if slope is None else w / scale * slope


@primitive(surrogate=per_unit_of_scale)
def straight_through(w: np.ndarray, *, scale: np.ndarray, thresholds: np.ndarray, levels: np.ndarray,
                     slope: np.ndarray | None = None) -> OutputAndVJPs:
    """Return levels[number of thresholds below w]; the backward pass uses the derivative of slope * w / scale.

    slope: of w's shape, 1 if not given.
    A layer computes y = scale * (x * q), so the gradient that reaches q is scale * W, with W the gradient with
    respect to the effective weight scale * q; w receives slope * W (methods/README.md, section 0).
    """
    vjp = (lambda g: g / scale) if slope is None else (lambda g: g / scale * slope)
    return kernels.nearest_level(w, thresholds, levels), (vjp,)


@dataclass(frozen=True, eq=False)
class LevelQuantizer:
    """Parametrization of a latent weight in weight units: (level, scale), with a straight-through gradient.

    scale: float array, () for one per tensor or (c_out,) for one per output filter. thresholds: where the level
    changes, (n - 1,) or (c_out, n - 1) in weight units and the latent's dtype; midway between levels if not given.
    slope: what the gradient is multiplied by, of the latent's shape; 1 if not given.
    """

    level_set: LevelSet
    scale: np.ndarray
    thresholds: np.ndarray | None = None
    slope: np.ndarray | None = None
    _constants: dict = field(default_factory=dict, init=False, repr=False)

    def __call__(self, latent: Tensor) -> tuple[Tensor, np.ndarray]:
        """Return (levels, a Tensor of the latent's shape; scale, an array (c_out,))."""
        scale, thresholds, levels, per_filter = self._constants_for(latent.data)
        slope = {} if self.slope is None else {"slope": self.slope}
        quantised = straight_through(latent, scale=scale, thresholds=thresholds, levels=levels, **slope)
        return quantised, per_filter

    def codes(self, latent: np.ndarray) -> np.ndarray:
        """Return indices into the ascending levels, uint8 of the shape of the array `latent`."""
        if self.thresholds is None:
            return self.level_set.codes(latent, self._scale(latent))
        codes = np.zeros(latent.shape, np.uint8)
        for threshold in np.moveaxis(self.thresholds, -1, 0):
            codes += latent > threshold.reshape(-1, *[1] * (latent.ndim - 1))
        return codes

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
            self._constants[key] = (self._scale(latent), self._thresholds(latent.dtype),
                                    self.level_set.values.astype(latent.dtype),
                                    np.full(latent.shape[0], self.scale, latent.dtype))
        return self._constants[key]

    def _thresholds(self, dtype):
        if self.thresholds is not None:
            return self.thresholds
        return rounded_down(np.multiply.outer(np.asarray(self.scale, np.float64), self.level_set.midpoints), dtype)

    def _scale(self, latent):
        """Return the scale in the latent's dtype, with as many axes as the latent."""
        return self.scale.astype(latent.dtype).reshape(-1, *[1] * (latent.ndim - 1))
