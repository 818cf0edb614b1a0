"""Average and adaptive average pooling of (n, c, h, w) arrays and their gradients, plane by plane."""
import numpy as np

from tinyq.kernels.geometry.conv_geometry import Pair
from tinyq.kernels.geometry.pooling_windows import adaptive_windows, sliding_windows
from tinyq.kernels.geometry.spans import flat, over_items
from tinyq.kernels.jit.compile import njit, part, prange
from tinyq.kernels.simd.lanes import lane_sum


def avg_pool2d(x: np.ndarray, kernel: Pair, stride: Pair, padding: Pair, ceil_mode: bool = False,
               count_include_pad: bool = True) -> np.ndarray:
    """Mean of each window, (n, c, oh, ow): summed in float64, divided, rounded once.

    Elements are added in row-major order; those of a window as wide as its plane, which lie in one run, in 32 lanes.
    """
    return _average(x, sliding_windows(x.shape[2:], kernel, stride, padding, 1, ceil_mode, count_include_pad))


def avg_pool2d_grad(g: np.ndarray, x_shape: tuple[int, ...], kernel: Pair, stride: Pair, padding: Pair,
                    ceil_mode: bool = False, count_include_pad: bool = True) -> np.ndarray:
    """Gradient with respect to x (x_shape): g / count added to each element of its window, ascending by output."""
    windows = sliding_windows(tuple(x_shape[2:]), kernel, stride, padding, 1, ceil_mode, count_include_pad)
    return _average_grad(g, x_shape, windows)


def adaptive_avg_pool2d(x: np.ndarray, output_size: Pair) -> np.ndarray:
    """Mean of each of output_size windows that cover the plane, (n, c, oh, ow); a number or a pair."""
    return _average(x, adaptive_windows(x.shape[2:], output_size))


def adaptive_avg_pool2d_grad(g: np.ndarray, x_shape: tuple[int, ...], output_size: Pair) -> np.ndarray:
    """Gradient with respect to x (x_shape) of `adaptive_avg_pool2d`."""
    return _average_grad(g, x_shape, adaptive_windows(tuple(x_shape[2:]), output_size))


def _average(x, windows):
    y = np.empty((*x.shape[:2], *windows.output_size), np.float32)
    _over_planes(_average_planes, _average_parallel, x.shape, flat(x), y.reshape(-1), windows)
    return y


def _average_grad(g, x_shape, windows):
    assert g.shape == (*x_shape[:2], *windows.output_size)
    gx = np.zeros(x_shape, np.float32)
    _over_planes(_average_grad_planes, _average_grad_parallel, x_shape, flat(g), gx.reshape(-1), windows)
    return gx


def _over_planes(serial, parallel, x_shape, source, target, windows):
    """Run a kernel over the n * c planes of x."""
    size = x_shape[2] * x_shape[3]
    over_items(serial, parallel, x_shape[0] * x_shape[1], size, size, source, target, windows.origins, windows.heights,
               windows.widths, windows.divisors, windows.step[0], windows.outputs)


@njit
def _average_planes(size, x, y, origins, heights, widths, divisors, row_stride, outputs, first, last):
    for plane in range(first, last):
        for o in range(outputs):
            start, total = plane * size + origins[o], 0.0
            if widths[o] == row_stride:
                total = lane_sum(x, start, heights[o] * row_stride)
            else:
                for i in range(heights[o]):
                    for k in range(start + i * row_stride, start + i * row_stride + widths[o]):
                        total += x[k]
            y[plane * outputs + o] = total / divisors[o]


@njit
def _average_grad_planes(size, g, gx, origins, heights, widths, divisors, row_stride, outputs, first, last):
    for plane in range(first, last):
        for o in range(outputs):
            share = g[plane * outputs + o] / divisors[o]
            for i in range(heights[o]):
                start = plane * size + origins[o] + i * row_stride
                _add_to_each(gx[start:start + widths[o]], share)


@part
def _add_to_each(x, value):
    for i in range(x.size):
        x[i] += value


@njit(parallel=True)
def _average_parallel(size, x, y, origins, heights, widths, divisors, row_stride, outputs, planes, grain):
    for i in prange(-(-planes // grain)):
        _average_planes(size, x, y, origins, heights, widths, divisors, row_stride, outputs,
                        i * grain, min((i + 1) * grain, planes))


@njit(parallel=True)
def _average_grad_parallel(size, g, gx, origins, heights, widths, divisors, row_stride, outputs, planes, grain):
    for i in prange(-(-planes // grain)):
        _average_grad_planes(size, g, gx, origins, heights, widths, divisors, row_stride, outputs,
                             i * grain, min((i + 1) * grain, planes))
