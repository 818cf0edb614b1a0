"""References of max pooling: a window's taps one after another, all windows of all planes at once."""
import numpy as np

from tinyq.kernels.geometry.conv_geometry import Pair
from tinyq.kernels.geometry.pooling_windows import sliding_windows
from tinyq.kernels.reference.pooling.avg_pool import taps


def max_pool2d(x: np.ndarray, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair = 1,
               ceil_mode: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Maximum of each window (n, c, oh, ow) and its flat index in the plane, int32."""
    windows = sliding_windows(x.shape[2:], kernel, stride, padding, dilation, ceil_mode)
    flat = x.reshape(-1, x.shape[2] * x.shape[3])
    best = np.full((len(flat), windows.outputs), -np.inf, x.dtype)
    place = np.full(best.shape, -1, np.int32)
    for outputs, at in taps(windows):
        value, so_far, where = flat[:, at], best[:, outputs], place[:, outputs]
        taken = (value > so_far) | np.isnan(value) | (where < 0)
        best[:, outputs] = np.where(taken, value, so_far)
        place[:, outputs] = np.where(taken, at.astype(np.int32), where)
    shape = (*x.shape[:2], *windows.output_size)
    return best.reshape(shape), place.reshape(shape)


def max_pool2d_grad(g: np.ndarray, indices: np.ndarray, x_shape: tuple[int, ...]) -> np.ndarray:
    """Gradient with respect to x: every g, ascending by output, added where its maximum was."""
    planes = x_shape[0] * x_shape[1]
    gx = np.zeros((planes, x_shape[2] * x_shape[3]), g.dtype)
    outputs = g.shape[2] * g.shape[3]
    incoming, places, every = g.reshape(planes, outputs), indices.reshape(planes, outputs), np.arange(planes)
    for o in range(outputs):
        gx[every, places[:, o]] += incoming[:, o]
    return gx.reshape(x_shape)
