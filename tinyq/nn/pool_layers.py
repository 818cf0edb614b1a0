"""Pooling layers; sizes are ints or pairs, and a stride of None is the kernel size, as in torch."""
from typing import Any

from tinyq.autodiff import Tensor, pooling
from tinyq.kernels.geometry.pooling_windows import Size
from tinyq.nn.module import Module


class MaxPool2d(Module):
    """Maximum of each window: (n, c, h, w) to (n, c, h', w')."""

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1,
                 ceil_mode: bool = False) -> None:
        """Store the window."""
        self.window = {"kernel": kernel_size, "stride": stride, "padding": padding, "dilation": dilation,
                       "ceil_mode": ceil_mode}

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to (n, c, h', w')."""
        return pooling.max_pool2d(x, **self.window)

    def describe(self) -> str:
        """Return the window."""
        return _described(self.window)


class AvgPool2d(Module):
    """Mean of each window: (n, c, h, w) to (n, c, h', w')."""

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
                 count_include_pad: bool = True) -> None:
        """Store the window."""
        self.window = {"kernel": kernel_size, "stride": stride, "padding": padding, "ceil_mode": ceil_mode,
                       "count_include_pad": count_include_pad}

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to (n, c, h', w')."""
        return pooling.avg_pool2d(x, **self.window)

    def describe(self) -> str:
        """Return the window."""
        return _described(self.window)


class AdaptiveAvgPool2d(Module):
    """Mean of each of output_size windows that cover the image; output_size 1 is the mean of the image."""

    def __init__(self, output_size: Size) -> None:
        """Store the output size."""
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to (n, c, *output_size)."""
        return pooling.adaptive_avg_pool2d(x, output_size=self.output_size)

    def describe(self) -> str:
        """Return the output size."""
        return str(self.output_size)


def _described(window: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in window.items())
