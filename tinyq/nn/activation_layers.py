"""Layers without parameters that change no sizes, and Flatten."""
from tinyq.autodiff import Tensor, elementwise, shape
from tinyq.nn.module import Module


class Identity(Module):
    """y = x."""

    def forward(self, x: Tensor) -> Tensor:
        """The input itself."""
        return x


class ReLU(Module):
    """y = max(x, 0)."""

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as x."""
        return elementwise.relu(x)


class Tanh(Module):
    """y = tanh(x)."""

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as x."""
        return elementwise.tanh(x)


class Sigmoid(Module):
    """y = 1 / (1 + exp(-x))."""

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as x."""
        return elementwise.sigmoid(x)


class Flatten(Module):
    """(n, ...) to (n, product)."""

    def forward(self, x: Tensor) -> Tensor:
        """One row a sample."""
        return shape.flatten(x)
