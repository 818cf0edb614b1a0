"""Logistic regression and perceptrons with any hidden layers."""
import math

from tinyq.errors import UsageError
from tinyq.nn import Flatten, Linear, Module, ReLU


class MLP(Module):
    """Linear layers fc1, fc2, ... with ReLU between them: (n, ...) to (n, num_classes)."""

    def __init__(self, sizes):
        """`sizes` are the features of the input, of each hidden layer, and the classes."""
        self.flatten, self.relu = Flatten(), ReLU()
        self.depth = len(sizes) - 1
        for i, (n_in, n_out) in enumerate(zip(sizes, sizes[1:], strict=False), start=1):
            setattr(self, f"fc{i}", Linear(n_in, n_out))

    def forward(self, x):
        """(n, ...) to logits (n, num_classes)."""
        x = self.flatten(x)
        for i in range(1, self.depth):
            x = self.relu(getattr(self, f"fc{i}")(x))
        return getattr(self, f"fc{self.depth}")(x)


def logistic(num_classes, input_shape):
    """Multinomial logistic regression: one linear layer (784 x 10 + 10 on MNIST)."""
    return MLP((math.prod(input_shape), num_classes))


def mlp(num_classes, input_shape, argument="100"):
    """A perceptron; `argument` lists the hidden sizes: `mlp:8,16` on Iris is 4-8-16-3, 235 parameters."""
    try:
        hidden = [int(size) for size in argument.split(",")]
    except ValueError:
        hidden = []
    if not hidden or min(hidden) < 1:
        raise UsageError(f"--model mlp:{argument}: give the hidden sizes, such as mlp:100 or mlp:8,16")
    return MLP((math.prod(input_shape), *hidden, num_classes))
