"""What a layer shows of a latent weight that is constrained to levels, and the gradient the latent gets."""
from dataclasses import dataclass

import numpy as np

from tinyq import kernels
from tinyq.autodiff import primitive
from tinyq.levels import LevelSet, rounded_down


def per_unit_of_scale(w, *, scale, thresholds=None, levels=None):
    """w / scale: the function whose derivative straight_through declares in place of its own, which is 0."""
    return w / scale


@primitive(surrogate=per_unit_of_scale)
def straight_through(w, *, scale, thresholds, levels):
    """The level nearest to w / scale; backwards, the derivative of w / scale.

    A layer computes y = scale * (x * q), so the gradient that reaches q is scale * W, with W the gradient with
    respect to the shown weight scale * q; what reaches w is W itself (METHODS.md, section 0).
    """
    return kernels.nearest_level(w, thresholds, levels), (lambda g: g / scale,)


@dataclass(frozen=True, eq=False)
class LevelView:
    """A parameter's view: its latent weight, in the units of the shown one, appears as (nearest level, scale).

    scale: float array, () for one a tensor or (c_out,) for one an output filter.
    """

    level_set: LevelSet
    scale: np.ndarray

    def __call__(self, latent):
        """(levels as a Tensor of the latent's shape, scale as an array (c_out,))."""
        scale = self._scale(latent.data)
        thresholds = rounded_down(np.multiply.outer(np.asarray(self.scale, np.float64), self.level_set.midpoints),
                                  latent.dtype)
        levels = self.level_set.values.astype(latent.dtype)
        shown = straight_through(latent, scale=scale, thresholds=thresholds, levels=levels)
        return shown, np.full(latent.shape[0], self.scale, latent.dtype)

    def codes(self, latent):
        """Indices into the ascending levels: uint8 of the shape of the array `latent`."""
        return self.level_set.codes(latent, self._scale(latent))

    def normalised(self, latent):
        """The latent in units of the scale."""
        return latent / self._scale(latent)

    def shown(self, latent):
        """The weight the layer computes with, scale * level, in the dtype of the array `latent`."""
        return self._scale(latent) * self.level_set.values.astype(latent.dtype)[self.codes(latent)]

    def _scale(self, latent):
        """The scale in the latent's dtype, with an axis for each of the latent's."""
        return self.scale.astype(latent.dtype).reshape(-1, *[1] * (latent.ndim - 1))
