"""Pooling layers; sizes are ints or pairs, and a stride of None is the kernel size, as in torch."""
from collections.abc import Callable
from typing import Any, ClassVar

from tinyq.autodiff import Tensor, pooling
from tinyq.kernels.geometry.pooling_windows import Size
from tinyq.nn.module import Module


class _Pool(Module):
    operation: ClassVar[Callable[..., Tensor]]
    window: dict[str, Any]

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to (n, c, h', w')."""
        return type(self).operation(x, **self.window)

    def describe(self) -> str:
        """Return the window."""
        return ", ".join(f"{key}={value}" for key, value in self.window.items())


class MaxPool2d(_Pool):
    """Maximum of each window: (n, c, h, w) to (n, c, h', w')."""

    operation = pooling.max_pool2d

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1,
                 ceil_mode: bool = False) -> None:
        """Store the window."""
        self.window = {"kernel": kernel_size, "stride": stride, "padding": padding, "dilation": dilation,
                       "ceil_mode": ceil_mode}


class AvgPool2d(_Pool):
    """Mean of each window: (n, c, h, w) to (n, c, h', w')."""

    operation = pooling.avg_pool2d

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
                 count_include_pad: bool = True) -> None:
        """Store the window."""
        self.window = {"kernel": kernel_size, "stride": stride, "padding": padding, "ceil_mode": ceil_mode,
                       "count_include_pad": count_include_pad}


class AdaptiveAvgPool2d(_Pool):
    """Mean of each of output_size windows that cover the image; output_size 1 is the mean of the image."""

    operation = pooling.adaptive_avg_pool2d

    def __init__(self, output_size: Size) -> None:
        """Store the output size."""
        self.window = {"output_size": output_size}
