"""Convolution layers."""
import math
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from tinyq.autodiff import Tensor, convolution
from tinyq.errors import UsageError
from tinyq.kernels.geometry.conv_geometry import Pair, pair
from tinyq.nn import init
from tinyq.nn.init import InitialWeight
from tinyq.nn.module import Module
from tinyq.nn.parameter import Parameter
from tinyq.streams import Stream


class _Conv(Module):
    operation: ClassVar[Callable[..., Tensor]]
    axes: int                                   # of a plane

    def __init__(self, c_in: int, c_out: int, kernel_size: Pair, stride: Pair = 1, padding: Pair = 0,
                 dilation: Pair = 1, groups: int = 1, bias: bool = True, constrained: bool = True,
                 initial_weight: InitialWeight = init.uniform_fan_in) -> None:
        """Allocate float32 zeros; `initialise` draws the values."""
        name = type(self).__name__
        if groups < 1 or c_in % groups or c_out % groups:
            raise UsageError(f"{name}: {c_in} input and {c_out} output channels do not divide into {groups} groups")
        kernel = pair(kernel_size, f"{name}: kernel_size")[:self.axes]
        self.geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        self.initial_weight = initial_weight
        self.weight = Parameter(np.zeros((c_out, c_in // groups, *kernel), np.float32), constrained)
        self.weight.initialised = False
        self.bias = Parameter(np.zeros(c_out, np.float32)) if bias else None

    def reset(self, key: Callable[[str], Stream]) -> None:
        """Draw weight and bias from the streams key("weight") and key("bias")."""
        self.weight.data[...] = self.initial_weight(key("weight"), self.weight.shape)
        self.weight.initialised = True
        if self.bias is not None:
            bound = 1 / math.sqrt(init.fan_in(self.weight.shape))
            self.bias.data[...] = init.uniform(key("bias"), self.bias.shape, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c_in, ...) to (n, c_out, ...)."""
        w, scale = self.weight.effective()
        return type(self).operation(x, w, scale, self.bias, **self.geometry)

    def describe(self) -> str:
        """Return the sizes, and the geometry where it is not the default."""
        c_out, c_in, *kernel = self.weight.shape
        sizes = f"{c_in * self.geometry['groups']}, {c_out}, {tuple(kernel)}"
        plain = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
        special = [f", {key}={value}" for key, value in self.geometry.items() if value != plain[key]]
        return f"{sizes}{''.join(special)}, bias={self.bias is not None}, constrained={self.weight.constrained}"


class Conv2d(_Conv):
    """Cross-correlation: (n, c_in, h, w) to (n, c_out, h', w'); weight (c_out, c_in / groups, kh, kw), bias (c_out,).

    kernel_size, stride, padding and dilation are ints or pairs. Weight and bias are zeros until `initialise(streams)`
    draws them: the weight by `initial_weight`, a function of init.py; the bias uniformly within 1 / sqrt(fan_in), as in
    torch. With constrained=False no method constrains the weight. UsageError unless the groups divide the channels.
    """

    operation, axes = convolution.conv2d, 2


class Conv1d(_Conv):
    """Cross-correlation: (n, c_in, length) to (n, c_out, length'); weight (c_out, c_in / groups, k); see Conv2d.

    kernel_size, stride, padding and dilation are ints.
    """

    operation, axes = convolution.conv1d, 1
