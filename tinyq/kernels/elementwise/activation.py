"""Elementwise kernels of a layer: relu and its gradient, a sum of two, a per-channel affine."""
import numpy as np

from tinyq.kernels.geometry.spans import SPAN, flat, map_elements, over_items
from tinyq.kernels.jit.compile import njit, part, prange

ZERO = np.float32(0)


def relu(x: np.ndarray) -> np.ndarray:
    """+0 where x <= 0, else x (a NaN stays one); float32 of x's shape."""
    return map_elements(_relu_span, _relu_parallel, x)


def relu_grad(g: np.ndarray, y: np.ndarray) -> np.ndarray:
    """+0 where y <= 0, else g: the gradient of `relu` from its output; float32 of g's shape."""
    assert g.shape == y.shape
    return map_elements(relu_grad_span, _relu_grad_parallel, g, y)


def add(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a + b of one shape, float32."""
    assert a.shape == b.shape
    return map_elements(_add_span, _add_parallel, a, b)


def channel_affine(x: np.ndarray, scale: np.ndarray | None, shift: np.ndarray | None) -> np.ndarray:
    """x * scale[c] + shift[c], two roundings; x (n, c, ...), scale and shift (c,) float32 or None."""
    if x.ndim == 2:                                                  # planes of one element: NumPy is as fast
        y = x.copy() if scale is None else np.multiply(x, scale, order="C")
        return y if shift is None else np.add(y, shift, out=y)
    channels = x.shape[1]
    # Times 1 and plus -0 change no bit.
    scale = np.ones(channels, np.float32) if scale is None else flat(scale)
    shift = np.full(channels, -0.0, np.float32) if shift is None else flat(shift)
    assert scale.size == shift.size == channels
    y = np.empty(x.shape, np.float32)
    planes = x.shape[0] * channels
    size = x.size // max(1, planes)
    over_items(_affine_planes, _affine_parallel, planes, size, flat(x), y.reshape(-1), scale, shift, size)
    return y


@njit
def _relu_span(x, y):
    for i in range(y.size):
        y[i] = ZERO if x[i] <= ZERO else x[i]


@njit
def relu_grad_span(g, y, gx):
    """gx = `relu_grad` of g and y, flat arrays."""
    for i in range(y.size):
        gx[i] = ZERO if y[i] <= ZERO else g[i]


@njit
def _add_span(a, b, y):
    for i in range(y.size):
        y[i] = a[i] + b[i]


@part
def affine_span(x, y, scale, shift):
    """y = x * scale + shift, scale and shift float32 numbers: the one affine of training and inference."""
    for i in range(x.size):
        y[i] = x[i] * scale + shift


@njit
def _affine_planes(x, y, scale, shift, size, first, last):
    for plane in range(first, last):
        channel, start, end = plane % scale.size, plane * size, (plane + 1) * size
        affine_span(x[start:end], y[start:end], scale[channel], shift[channel])


@njit(parallel=True)
def _relu_parallel(x, y):
    for i in prange(-(-y.size // SPAN)):
        _relu_span(x[i * SPAN:(i + 1) * SPAN], y[i * SPAN:(i + 1) * SPAN])


@njit(parallel=True)
def _relu_grad_parallel(g, y, gx):
    for i in prange(-(-y.size // SPAN)):
        relu_grad_span(g[i * SPAN:(i + 1) * SPAN], y[i * SPAN:(i + 1) * SPAN], gx[i * SPAN:(i + 1) * SPAN])


@njit(parallel=True)
def _add_parallel(a, b, y):
    for i in prange(-(-y.size // SPAN)):
        _add_span(a[i * SPAN:(i + 1) * SPAN], b[i * SPAN:(i + 1) * SPAN], y[i * SPAN:(i + 1) * SPAN])


@njit(parallel=True)
def _affine_parallel(x, y, scale, shift, size, planes, grain):
    for i in prange(-(-planes // grain)):
        _affine_planes(x, y, scale, shift, size, i * grain, min((i + 1) * grain, planes))
