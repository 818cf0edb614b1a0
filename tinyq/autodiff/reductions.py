"""Reductions over some or all axes, in the contract's order of adding."""
import math

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from tinyq import kernels
from tinyq.autodiff.primitives import OutputAndVJPs, primitive
from tinyq.autodiff.tensors import Axes


def _reduced(shape: tuple[int, ...], axes: Axes) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """(the axes as a sorted tuple, all of them for None; the shape with these axes 1; the shape without them)."""
    axes = tuple(range(len(shape))) if axes is None else tuple(sorted(normalize_axis_tuple(axes, len(shape))))
    kept = tuple(1 if axis in axes else n for axis, n in enumerate(shape))
    return axes, kept, tuple(n for axis, n in enumerate(shape) if axis not in axes)


def _stretched(g: np.ndarray, kept: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    """g back over the reduced axes, as an array of its own (broadcasting makes read-only views)."""
    return np.broadcast_to(g.reshape(kept), shape).copy()


@primitive
def sum(x: np.ndarray, *, axes: Axes = None, keepdims: bool = False) -> OutputAndVJPs:
    """The sum over `axes` (an int, several, or None for all)."""
    shape = x.shape
    axes, kept, left = _reduced(shape, axes)
    return kernels.sum(x, axes).reshape(kept if keepdims else left), (lambda g: _stretched(g, kept, shape),)


@primitive
def mean(x: np.ndarray, *, axes: Axes = None, keepdims: bool = False) -> OutputAndVJPs:
    """The sum over `axes` divided by how many they hold."""
    shape = x.shape
    axes, kept, left = _reduced(shape, axes)
    count = math.prod(shape[axis] for axis in axes)
    y = kernels.sum(x, axes) / count
    return y.reshape(kept if keepdims else left), (lambda g: _stretched(g / count, kept, shape),)


@primitive
def max(x: np.ndarray, *, axes: Axes = None, keepdims: bool = False) -> OutputAndVJPs:
    """The largest over `axes`; equal ones share the gradient, as torch.amax does."""
    axes, kept, left = _reduced(x.shape, axes)
    top = x.max(axes, keepdims=True) + x.dtype.type(0)      # -0 becomes +0: which is found depends on the CPU

    def vjp(g):
        winners = x == top
        share = g.reshape(kept) / winners.sum(axes, keepdims=True).astype(g.dtype)
        return np.where(winners, share, g.dtype.type(0))

    return top.reshape(kept if keepdims else left), (vjp,)
