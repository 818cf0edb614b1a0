"""Reference of max pooling without indices: the rows of all windows, then their columns."""
import numpy as np

from tinyq.kernels.geometry.conv_geometry import Pair, pair
from tinyq.kernels.geometry.pooling_windows import sliding_size


def max_pool2d_values(x: np.ndarray, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair = 1,
                      ceil_mode: bool = False) -> np.ndarray:
    """Maximum of each window (n, c, oh, ow)."""
    size = sliding_size(x.shape[2:], kernel, stride, padding, dilation, ceil_mode)
    kernel, stride, padding, dilation = (pair(v, "pooling") for v in (kernel, stride, padding, dilation))
    for axis, outputs, *settings in zip((2, 3), size, kernel, stride, padding, dilation, strict=True):
        x = _along(x, axis, outputs, *settings)
    return x


def _along(x, axis, outputs, taps, step, padding, dilation):
    needed = (outputs - 1) * step + (taps - 1) * dilation + 1
    widths = [(0, 0)] * x.ndim
    widths[axis] = padding, max(0, needed - padding - x.shape[axis])
    padded = np.moveaxis(np.pad(x, widths, constant_values=-np.inf), axis, 0)
    best = np.full((outputs, *padded.shape[1:]), -np.inf, x.dtype)
    for tap in range(taps):
        value = padded[tap * dilation:tap * dilation + (outputs - 1) * step + 1:step]
        best = np.where((value > best) | np.isnan(value), value, best)
    return np.ascontiguousarray(np.moveaxis(best, 0, axis))
