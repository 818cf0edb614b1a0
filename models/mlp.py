"""Logistic regression and multi-layer perceptrons."""
import math
from collections.abc import Sequence

from tinyq.autodiff import Tensor
from tinyq.errors import UsageError
from tinyq.models.input_checks import Shape
from tinyq.nn import Flatten, Linear, Module, ReLU


class MLP(Module):
    """Linear layers fc1, fc2, ... with ReLU between them: (n, ...) to (n, num_classes)."""

    def __init__(self, sizes: Sequence[int]):
        """sizes: features of the input, features of each hidden layer, classes."""
        self.flatten, self.relu = Flatten(), ReLU()
        self.depth = len(sizes) - 1
        for i, (n_in, n_out) in enumerate(zip(sizes, sizes[1:], strict=False), start=1):
            setattr(self, f"fc{i}", Linear(n_in, n_out))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, ...) to logits (n, num_classes)."""
        x = self.flatten(x)
        for i in range(1, self.depth):
            x = self.relu(getattr(self, f"fc{i}")(x))
        return getattr(self, f"fc{self.depth}")(x)


def logistic(num_classes: int, input_shape: Shape) -> Module:
    """Make a multinomial logistic regression: one linear layer (784 x 10 + 10 on MNIST)."""
    return MLP((math.prod(input_shape), num_classes))


def mlp(num_classes: int, input_shape: Shape, argument: str = "100") -> Module:
    """Make a perceptron; argument: its hidden sizes ("8,16" on Iris gives 4-8-16-3, 235 parameters)."""
    try:
        hidden = [int(size) for size in argument.split(",")]
    except ValueError:
        hidden = []
    if not hidden or min(hidden) < 1:
        raise UsageError(f"model mlp:{argument}: give the hidden sizes, such as mlp:100 or mlp:8,16")
    return MLP((math.prod(input_shape), *hidden, num_classes))
