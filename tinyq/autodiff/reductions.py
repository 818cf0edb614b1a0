"""Reductions over some or all axes, in the order of summation that kernels/contract.py fixes."""
import math

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from tinyq import kernels
from tinyq.autodiff.primitives import OutputAndVJPs, primitive
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
def sum(x: np.ndarray, *, axes: Axes = None, keepdims: bool = False) -> OutputAndVJPs:
    """Return the sum over `axes`: an int, a tuple, or None for all."""
    shape = x.shape
    axes, kept, left = _reduced(shape, axes)
    return kernels.sum(x, axes).reshape(kept if keepdims else left), (lambda g: _stretched(g, kept, shape),)


@primitive
def mean(x: np.ndarray, *, axes: Axes = None, keepdims: bool = False) -> OutputAndVJPs:
    """Return the mean over `axes`: an int, a tuple, or None for all."""
    shape = x.shape
    axes, kept, left = _reduced(shape, axes)
    count = math.prod(shape[axis] for axis in axes)
    y = kernels.sum(x, axes) / count
    return y.reshape(kept if keepdims else left), (lambda g: _stretched(g / count, kept, shape),)


@primitive
def max(x: np.ndarray, *, axes: Axes = None, keepdims: bool = False) -> OutputAndVJPs:
    """Return the maximum over `axes`; equal elements share the gradient, as in torch.amax."""
    axes, kept, left = _reduced(x.shape, axes)
    top = x.max(axes, keepdims=True) + x.dtype.type(0)      # -0 becomes +0: which zero NumPy finds depends on the CPU

    def vjp(g):
        winners = x == top
        share = g.reshape(kept) / winners.sum(axes, keepdims=True).astype(g.dtype)
        return np.where(winners, share, g.dtype.type(0))

    return top.reshape(kept if keepdims else left), (vjp,)
