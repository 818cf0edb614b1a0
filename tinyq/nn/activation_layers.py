"""Layers without parameters: activations, Identity and Flatten."""
from tinyq.autodiff import Tensor, elementwise, shape
from tinyq.nn.module import Module


class Identity(Module):
    """Return the input: y = x."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x itself."""
        return x


class ReLU(Module):
    """Rectified linear unit: y = max(x, 0)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return y, of x's shape."""
        return elementwise.relu(x)


class Tanh(Module):
    """Hyperbolic tangent: y = tanh(x)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return y, of x's shape."""
        return elementwise.tanh(x)


class Sigmoid(Module):
    """Logistic function: y = 1 / (1 + exp(-x))."""

    def forward(self, x: Tensor) -> Tensor:
        """Return y, of x's shape."""
        return elementwise.sigmoid(x)


class Flatten(Module):
    """Flatten the axes of each sample: (n, ...) to (n, product)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return one row per sample."""
        return shape.flatten(x, start=1)
