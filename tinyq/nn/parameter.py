"""Parameter: a trained tensor, and the effective weight with which its layer computes."""
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np

from tinyq.autodiff import Tensor
from tinyq.levels import LevelSet

Parametrization = Callable[[Tensor], tuple[Tensor, np.ndarray | None]]


@runtime_checkable
class Quantizer(Protocol):
    """Parametrization by levels: the effective weight is scale * level."""

    @property
    def level_set(self) -> LevelSet:
        """Normalised levels."""

    @property
    def scale(self) -> np.ndarray:
        """Scale, () for one per tensor or (c_out,) for one per output channel."""

    def normalised(self, latent: np.ndarray) -> np.ndarray:
        """Return the latent in units of the scale."""

    def effective(self, latent: np.ndarray) -> np.ndarray:
        """Return scale * level, the weight that the layer computes with."""


class Parameter(Tensor):
    """Trained tensor; a method constrains it to levels by its parametrization.

    constrained: True if a method constrains it. constrainable: True if a method may; its layer decides.
    parametrization: None, or a function from the latent tensor to (tensor in units of the scale, scale).
    """

    def __init__(self, data: np.ndarray, constrained: bool = False) -> None:
        """Take over the float32 or float64 array, without a copy."""
        super().__init__(data, requires_grad=True)
        self.constrained = self.constrainable = constrained
        self.parametrization: Parametrization | None = None

    def effective(self) -> tuple[Tensor, np.ndarray | None]:
        """Return (w, scale): the effective weight is scale * w, with scale (c_out,) per output channel, or None for 1.

        The layer computes scale * (x * w).
        """
        if self.parametrization is None:
            return self, None
        w, scale = self.parametrization(self)
        if w is not self:
            w.parameter = self
        return w, scale


def quantizer_of(p: Tensor) -> Quantizer:
    """Return the Quantizer of a constrained Parameter."""
    assert isinstance(p, Parameter) and isinstance(p.parametrization, Quantizer)
    return p.parametrization
