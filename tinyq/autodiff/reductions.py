"""Reductions over some or all axes, sums along one, and softmax, in the order that kernels/contract.py fixes."""
import math
from collections.abc import Callable

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from tinyq import kernels, portable
from tinyq.autodiff.primitives import OutputAndVJPs, in_float64, primitive
from tinyq.autodiff.tensors import Axes


def _reduced(shape: tuple[int, ...], axes: Axes) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Return (axes as a sorted tuple, shape with size 1 along them, shape without them); None means all axes."""
    axes = tuple(range(len(shape))) if axes is None else tuple(sorted(normalize_axis_tuple(axes, len(shape))))
    kept = tuple(1 if axis in axes else n for axis, n in enumerate(shape))
    return axes, kept, tuple(n for axis, n in enumerate(shape) if axis not in axes)


def _stretched(g: np.ndarray, kept: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    """Return g broadcast over the reduced axes, as a copy (a broadcast view is read-only)."""
    return np.broadcast_to(g.reshape(kept), shape).copy()


@primitive
def sum(x: np.ndarray, *, axis: Axes = None, keepdims: bool = False) -> OutputAndVJPs:
    """Return the sum over `axis`: an int, a tuple, or None for all."""
    shape = x.shape
    axes, kept, left = _reduced(shape, axis)
    return kernels.sum(x, axes).reshape(kept if keepdims else left), (lambda g: _stretched(g, kept, shape),)


@primitive
def mean(x: np.ndarray, *, axis: Axes = None, keepdims: bool = False) -> OutputAndVJPs:
    """Return the mean over `axis`: an int, a tuple, or None for all."""
    shape = x.shape
    axes, kept, left = _reduced(shape, axis)
    count = math.prod(shape[axis] for axis in axes)
    y = kernels.sum(x, axes) / count
    return y.reshape(kept if keepdims else left), (lambda g: _stretched(g / count, kept, shape),)


@primitive
def max(x: np.ndarray, *, axis: Axes = None, keepdims: bool = False) -> OutputAndVJPs:
    """Return the maximum over `axis`; equal elements share the gradient, as in torch.amax."""
    return _extreme(x, x.max, axis, keepdims)


@primitive
def min(x: np.ndarray, *, axis: Axes = None, keepdims: bool = False) -> OutputAndVJPs:
    """Return the minimum over `axis`; equal elements share the gradient, as in torch.amin."""
    return _extreme(x, x.min, axis, keepdims)


def _extreme(x: np.ndarray, reduce: Callable[..., np.ndarray], axis: Axes, keepdims: bool) -> OutputAndVJPs:
    axes, kept, left = _reduced(x.shape, axis)
    top = reduce(axes, keepdims=True) + x.dtype.type(0)     # -0 becomes +0: which zero NumPy finds depends on the CPU

    def vjp(g):
        winners = x == top
        share = g.reshape(kept) / winners.sum(axes, keepdims=True).astype(g.dtype)
        return np.where(winners, share, g.dtype.type(0))

    return top.reshape(kept if keepdims else left), (vjp,)


@primitive
@in_float64
def var(x: np.ndarray, *, axis: Axes = None, keepdims: bool = False, ddof: int = 0) -> OutputAndVJPs:
    """Return the variance over `axis`: the sum of squares divided by n - ddof; torch's default is ddof=1."""
    axes, kept, left = _reduced(x.shape, axis)
    n = np.float64(math.prod(x.shape[axis] for axis in axes))
    centred = x - kernels.sum(x, axes).reshape(kept) / n
    y = kernels.sum(centred * centred, axes) / np.maximum(n - ddof, 0)
    return y.reshape(kept if keepdims else left), (
        lambda g: g.reshape(kept) * centred * (2 / np.maximum(n - ddof, 0)),)


@primitive
@in_float64
def std(x: np.ndarray, *, axis: Axes = None, keepdims: bool = False, ddof: int = 0) -> OutputAndVJPs:
    """Return the square root of `var`; the gradient is 0 where it is 0, as in torch."""
    variance, (vjp,) = var.forward(x, axis=axis, keepdims=keepdims, ddof=ddof)
    y = np.sqrt(variance)
    return y, (lambda g: vjp(np.where(y == 0, 0, g / (2 * y))),)


@primitive
@in_float64
def prod(x: np.ndarray, *, axis: Axes = None, keepdims: bool = False) -> OutputAndVJPs:
    """Return the product over `axis`."""
    axes, kept, left = _reduced(x.shape, axis)
    last, moved = range(-len(axes), 0), (*left, *(x.shape[a] for a in axes))
    rows = np.moveaxis(x, axes, last).reshape(math.prod(left), -1) if x.size else np.ones((math.prod(left), 1))
    before = np.cumprod(np.insert(rows[:, :-1], 0, 1, axis=1), axis=1)              # of each element, in turn
    after = np.cumprod(np.insert(rows[:, :0:-1], 0, 1, axis=1), axis=1)[:, ::-1]
    others = (before * after if x.size else np.empty(0)).reshape(moved)
    return (before[:, -1] * rows[:, -1]).reshape(kept if keepdims else left), (
        lambda g: g.reshape(kept) * np.moveaxis(others, last, axes),)


@primitive
@in_float64
def cumsum(x: np.ndarray, *, axis: int) -> OutputAndVJPs:
    """Return the sums of the elements along `axis` up to each, added in order."""
    return np.cumsum(x, axis), (lambda g: np.flip(np.cumsum(np.flip(g, axis), axis), axis),)


@primitive
@in_float64
def softmax(x: np.ndarray, *, axis: int = -1) -> OutputAndVJPs:
    """Return e ** x / sum e ** x, the sum along `axis`."""
    logs, _ = log_softmax.forward(x, axis=axis)
    y = portable.exp(logs)
    return y, (lambda g: y * (g - _total(g * y, axis)),)


@primitive
@in_float64
def log_softmax(x: np.ndarray, *, axis: int = -1) -> OutputAndVJPs:
    """Return x - log sum e ** x, the sum along `axis`."""
    total, _ = logsumexp.forward(x, axis=axis, keepdims=True)
    y = x - total
    return y, (lambda g: g - portable.exp(y) * _total(g, axis),)


@primitive
@in_float64
def logsumexp(x: np.ndarray, *, axis: Axes = None, keepdims: bool = False) -> OutputAndVJPs:
    """Return log sum e ** x, the sum over `axis`, without overflow."""
    axes, kept, left = _reduced(x.shape, axis)
    top = x.max(axes, keepdims=True, initial=-math.inf)
    top = np.where(np.abs(top) < math.inf, top, 0)
    y = top + portable.real_log(kernels.sum(portable.exp(x - top), axes)).reshape(kept)
    return y.reshape(kept if keepdims else left), (lambda g: g.reshape(kept) * portable.exp(x - y),)


def _total(x: np.ndarray, axis: int) -> np.ndarray:
    return np.expand_dims(kernels.sum(x, axis), axis)
