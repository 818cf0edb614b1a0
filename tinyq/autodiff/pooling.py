"""Pooling over the last two axes of x (n, c, h, w); sizes are numbers or pairs, with torch's names and defaults."""
from typing import TypeAlias

import numpy as np

from tinyq import kernels
from tinyq.autodiff.primitives import OutputAndVJPs, primitive
from tinyq.kernels.geometry.conv_geometry import pair
from tinyq.kernels.geometry.pooling_windows import Size


def _four_axes(x: np.ndarray) -> tuple[int, ...]:
    if x.ndim != 4:
        raise ValueError("the input must be (n, c, h, w)")
    return x.shape


Pair: TypeAlias = tuple[int, int]


def _window(kernel: Size, stride: Size | None, padding: Size) -> tuple[Pair, Pair, Pair]:
    """Return kernel, stride and padding as pairs."""
    return (pair(kernel, "pooling: kernel"), pair(kernel if stride is None else stride, "pooling: stride"),
            pair(padding, "pooling: padding"))


@primitive
def max_pool2d(x: np.ndarray, *, kernel: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1,
               ceil_mode: bool = False) -> OutputAndVJPs:
    """Return the maximum of each window; the first of equal elements gets the gradient. stride None is the kernel."""
    shape, (kernel, stride, padding) = _four_axes(x), _window(kernel, stride, padding)
    y, indices = kernels.max_pool2d(x, kernel, stride, padding, pair(dilation, "pooling: dilation"), ceil_mode)
    return y, (lambda g: kernels.max_pool2d_grad(g, indices, shape),)


@primitive
def avg_pool2d(x: np.ndarray, *, kernel: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
               count_include_pad: bool = True) -> OutputAndVJPs:
    """Return the mean of each window; count_include_pad: the zeros of the padding count as elements."""
    shape, (kernel, stride, padding) = _four_axes(x), _window(kernel, stride, padding)
    geometry = (kernel, stride, padding, ceil_mode, count_include_pad)
    return kernels.avg_pool2d(x, *geometry), (lambda g: kernels.avg_pool2d_grad(g, shape, *geometry),)


@primitive
def adaptive_avg_pool2d(x: np.ndarray, *, output_size: Size) -> OutputAndVJPs:
    """Return the means of output_size windows that cover the plane."""
    shape, output_size = _four_axes(x), pair(output_size, "pooling: output size")
    return kernels.adaptive_avg_pool2d(x, output_size), (
        lambda g: kernels.adaptive_avg_pool2d_grad(g, shape, output_size),)
