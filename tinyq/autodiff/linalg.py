"""Matrix products; each 2-d product is one call of kernels.matmul, which fixes the order of its sums."""
import math

import numpy as np

from tinyq import kernels
from tinyq.autodiff.primitives import OutputAndVJPs, once, primitive
from tinyq.kernels.geometry.conv_geometry import check_channels


@primitive(broadcasts=True)
def matmul(a: np.ndarray, b: np.ndarray) -> OutputAndVJPs:
    """Return a (..., m, k) @ b (..., k, n) as NumPy: leading axes broadcast; a 1-d a is a row, a 1-d b a column."""
    if not a.ndim or not b.ndim:
        raise ValueError("both inputs need at least one axis")
    rows, columns = np.atleast_2d(a), b if b.ndim > 1 else b[:, None]
    y = _product(rows, columns)
    dropped = (-2,) * (a.ndim == 1) + (-1,) * (b.ndim == 1)              # the axes that a 1-d input does not have
    return y.squeeze(dropped), (
        lambda g: _narrowed(_product(np.expand_dims(g, dropped), columns.swapaxes(-1, -2)), a, -2),
        lambda g: _narrowed(_transposed_product(rows, np.expand_dims(g, dropped), columns), b, -1))


def _narrowed(gradient: np.ndarray, x: np.ndarray, axis: int) -> np.ndarray:
    """Remove the axis that was added to a 1-d x."""
    return gradient.squeeze(axis) if x.ndim == 1 else gradient


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a (..., m, k) @ b (..., k, n), both with at least two axes."""
    if a.shape[-1] != b.shape[-2]:
        raise ValueError(f"the last axis of the first, {a.shape[-1]}, must match the second's {b.shape[-2]}")
    if b.ndim == 2:
        return kernels.matmul(_rows(a), b).reshape(*a.shape[:-1], b.shape[-1])
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    y = np.empty((*batch, a.shape[-2], b.shape[-1]), a.dtype)
    for index in np.ndindex(*batch):
        y[index] = kernels.matmul(_matrix(a, index), _matrix(b, index))
    return y


def _rows(x: np.ndarray) -> np.ndarray:
    """Return x as a matrix of its last axis, which may be empty."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _matrix(x: np.ndarray, index: tuple[int, ...]) -> np.ndarray:
    """Return the matrix of x at an index of the broadcast batch."""
    return x[tuple(0 if n == 1 else i for n, i in zip(x.shape[-3::-1], index[::-1], strict=False))[::-1]]


def _transposed_product(a: np.ndarray, g: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the gradient of a @ b at b, a transposed @ g: one product over all rows if b is a single matrix."""
    if b.ndim == 2:
        return kernels.matmul(_rows(a).T, _rows(g))
    return _product(a.swapaxes(-1, -2), g)


@primitive
def linear(x: np.ndarray, w: np.ndarray, scale: np.ndarray | None = None,
           bias: np.ndarray | None = None) -> OutputAndVJPs:
    """Return y = scale * (x @ w.T) + bias, (n, out).

    x: (n, in). w: (out, in). scale, bias: (out,) or None; scale gets no gradient.
    """
    if x.ndim != 2 or w.ndim != 2 or x.shape[1] != w.shape[1]:
        raise ValueError("the input must be (n, in) and the weight (out, in)")
    check_channels(len(w), scale=scale, bias=bias)
    y = kernels.matmul(x, w.T)
    if scale is not None or bias is not None:
        y = kernels.channel_affine(y, scale, bias)
    scaled = once(lambda g: g if scale is None else kernels.channel_affine(g, scale, None))
    return y, (
        lambda g: kernels.matmul(scaled(g), w),
        lambda g: kernels.matmul(scaled(g).T, x),
        None,
        kernels.channel_sums)
