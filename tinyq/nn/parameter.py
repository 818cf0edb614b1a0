"""Parameter: a trained tensor, and the effective weight with which its layer computes."""
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np

from tinyq.autodiff import Tensor
from tinyq.errors import UsageError
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

    def codes(self, latent: np.ndarray) -> np.ndarray:
        """Return the index of each entry's level, uint8."""

    def normalised(self, latent: np.ndarray) -> np.ndarray:
        """Return the latent in units of the scale."""

    def effective(self, latent: np.ndarray) -> np.ndarray:
        """Return scale * level, the weight that the layer computes with."""


class Parameter(Tensor):
    """Trained tensor; a method constrains it to levels by its parametrization.

    constrained: True if a method constrains it; what a user assigns holds, whatever nn.constrain chooses.
    constrainable: True if a method may. initialised: False for a layer's zeros that nothing has replaced yet.
    parametrization: None, or a function from the latent tensor to (tensor in units of the scale, scale).
    """

    def __init__(self, data: np.ndarray, constrained: bool = False) -> None:
        """Take over the float32 or float64 array, without a copy."""
        super().__init__(data, requires_grad=True)
        self.constrained, self.initialised = constrained, True
        self.parametrization: Parametrization | None = None

    @property
    def constrained(self) -> bool:
        """True if a method constrains the parameter to levels."""
        return self._chosen and self.constrainable

    @constrained.setter
    def constrained(self, value: bool) -> None:
        self._chosen = self.constrainable = value

    def choose(self, chosen: bool) -> None:
        """Choose the parameter for a method or not, as nn.constrain does; one that must stay float is never chosen."""
        self._chosen = chosen

    def accumulate(self, g: np.ndarray) -> None:
        """Add g to `.grad`; UsageError for a weight that was never initialised."""
        if not self.initialised:
            if not self.data.any():
                raise UsageError(f"a weight of shape {self.shape} is all zeros, because it was never initialised; call "
                                 "model.initialise(tinyq.Streams(seed)), or load weights, before training")
            self.initialised = True
        super().accumulate(g)

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
