"""Fully connected layer."""
import math
from collections.abc import Callable

import numpy as np

from tinyq.autodiff import Tensor, linalg
from tinyq.nn import init
from tinyq.nn.init import InitialWeight
from tinyq.nn.module import Module
from tinyq.nn.parameter import Parameter
from tinyq.streams import Stream


class Linear(Module):
    """Fully connected layer y = x w^T + b: (n, n_in) to (n, n_out); weight (n_out, n_in), bias (n_out,).

    Weight and bias are zeros until `initialise(streams)` draws them: the weight by `initial_weight`, a function of
    init.py; the bias uniformly within 1 / sqrt(n_in), as in torch. With constrained=False no method constrains the
    weight.
    """

    def __init__(self, n_in: int, n_out: int, bias: bool = True, constrained: bool = True,
                 initial_weight: InitialWeight = init.uniform_fan_in) -> None:
        """Allocate float32 zeros; `initialise` draws the values."""
        self.n_in, self.n_out, self.initial_weight = n_in, n_out, initial_weight
        self.weight = Parameter(np.zeros((n_out, n_in), np.float32), constrained)
        self.weight.initialised = False
        self.bias = Parameter(np.zeros(n_out, np.float32)) if bias else None

    def reset(self, key: Callable[[str], Stream]) -> None:
        """Draw weight and bias from the streams key("weight") and key("bias")."""
        self.weight.data[...] = self.initial_weight(key("weight"), self.weight.shape)
        self.weight.initialised = True
        if self.bias is not None:
            self.bias.data[...] = init.uniform(key("bias"), self.bias.shape, 1 / math.sqrt(self.n_in))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, n_in) to (n, n_out)."""
        w, scale = self.weight.effective()
        return linalg.linear(x, w, scale, self.bias)

    def describe(self) -> str:
        """Return the sizes."""
        return f"{self.n_in}, {self.n_out}, bias={self.bias is not None}, constrained={self.weight.constrained}"
