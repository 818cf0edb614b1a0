"""References of average pooling: a window's taps one after another, all windows of all planes at once."""
import numpy as np

from tinyq.kernels.geometry.conv_geometry import Pair
from tinyq.kernels.geometry.pooling_windows import adaptive_windows, sliding_windows
from tinyq.kernels.reference.simd.lanes import lane_sum


def avg_pool2d(x: np.ndarray, kernel: Pair, stride: Pair, padding: Pair, ceil_mode: bool = False,
               count_include_pad: bool = True) -> np.ndarray:
    """Mean of each window, summed in row-major order (as wide as the plane: in lanes) in float64, rounded once."""
    return _average(x, sliding_windows(x.shape[2:], kernel, stride, padding, 1, ceil_mode, count_include_pad))


def avg_pool2d_grad(g: np.ndarray, x_shape: tuple[int, ...], kernel: Pair, stride: Pair, padding: Pair,
                    ceil_mode: bool = False, count_include_pad: bool = True) -> np.ndarray:
    """Gradient with respect to x: g / count added to each element of its window, ascending by output."""
    windows = sliding_windows(tuple(x_shape[2:]), kernel, stride, padding, 1, ceil_mode, count_include_pad)
    return _average_grad(g, x_shape, windows)


def adaptive_avg_pool2d(x: np.ndarray, output_size: Pair) -> np.ndarray:
    """Mean of each of output_size windows that cover the plane."""
    return _average(x, adaptive_windows(x.shape[2:], output_size))


def adaptive_avg_pool2d_grad(g: np.ndarray, x_shape: tuple[int, ...], output_size: Pair) -> np.ndarray:
    """Gradient with respect to x of `adaptive_avg_pool2d`."""
    return _average_grad(g, x_shape, adaptive_windows(tuple(x_shape[2:]), output_size))


def _average(x, windows):
    flat = x.reshape(-1, x.shape[2] * x.shape[3])
    total = np.zeros((len(flat), windows.outputs))
    for outputs, at in taps(windows):
        total[:, outputs] += flat[:, at]
    for o in np.flatnonzero(windows.widths[:windows.outputs] == x.shape[3]):
        first = windows.origins[o]
        total[:, o] = lane_sum(flat[:, first:first + windows.heights[o] * x.shape[3]])
    y = total / windows.divisors[:windows.outputs]
    return y.astype(x.dtype).reshape(*x.shape[:2], *windows.output_size)


def _average_grad(g, x_shape, windows):
    planes = x_shape[0] * x_shape[1]
    gx = np.zeros((planes, x_shape[2] * x_shape[3]), g.dtype)
    share = g.reshape(planes, windows.outputs) / windows.divisors[:windows.outputs]
    for o in range(windows.outputs):
        rows = np.arange(windows.heights[o])[:, None] * windows.step[0]
        columns = np.arange(windows.widths[o]) * windows.step[1]
        gx[:, windows.origins[o] + rows + columns] += share[:, o, None, None]
    return gx.reshape(x_shape)


def taps(windows):
    """Yield, for each tap in row-major order, the outputs whose window has it and its places in the plane."""
    origins, heights, widths = (t[:windows.outputs] for t in (windows.origins, windows.heights, windows.widths))
    for i in range(windows.taps[0]):
        for j in range(windows.taps[1]):
            outputs = np.flatnonzero((i < heights) & (j < widths))
            yield outputs, origins[outputs] + i * windows.step[0] + j * windows.step[1]
