"""Layers without parameters: activations, Identity and Flatten."""
from collections.abc import Callable
from typing import Any, ClassVar

from tinyq.autodiff import Tensor, activations, elementwise, reductions, shape
from tinyq.nn.module import Module


class Identity(Module):
    """Return the input: y = x."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x itself."""
        return x


class Flatten(Module):
    """Flatten the axes of each sample: (n, ...) to (n, product)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return one row per sample."""
        return shape.flatten(x, start=1)


class _Activation(Module):
    """Layer of one function, with options."""

    function: ClassVar[Callable[..., Tensor]]
    options: dict[str, Any] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return y, of x's shape."""
        return type(self).function(x, **self.options)

    def describe(self) -> str:
        """Return the options."""
        return ", ".join(f"{name}={value!r}" for name, value in self.options.items())


class ReLU(_Activation):
    """Rectified linear unit: y = max(x, 0)."""

    function = elementwise.relu


class Tanh(_Activation):
    """Hyperbolic tangent: y = tanh(x)."""

    function = elementwise.tanh


class Sigmoid(_Activation):
    """Logistic function: y = 1 / (1 + exp(-x))."""

    function = elementwise.sigmoid


class SiLU(_Activation):
    """Sigmoid linear unit: y = x / (1 + exp(-x))."""

    function = activations.silu


class LeakyReLU(_Activation):
    """Leaky ReLU: y = x where x > 0, slope * x elsewhere."""

    function = activations.leaky_relu

    def __init__(self, slope: float = 0.01) -> None:
        self.options = {"slope": slope}


class ELU(_Activation):
    """Exponential linear unit: y = x where x > 0, alpha * (exp(x) - 1) elsewhere."""

    function = activations.elu

    def __init__(self, alpha: float = 1.0) -> None:
        self.options = {"alpha": alpha}


class GELU(_Activation):
    """Gaussian error linear unit: y = x * P(z < x), z a standard normal; approximate: "none" or "tanh"."""

    function = activations.gelu

    def __init__(self, approximate: str = "none") -> None:
        self.options = {"approximate": approximate}


class Softmax(_Activation):
    """Softmax: y = exp(x) / sum exp(x), the sum along `axis`."""

    function = reductions.softmax

    def __init__(self, axis: int = -1) -> None:
        self.options = {"axis": axis}
