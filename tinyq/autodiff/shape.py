"""Operations that move elements without changing them."""
import math
from collections.abc import Sequence

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from tinyq.autodiff.primitives import OutputAndVJPs, primitive
from tinyq.autodiff.tape import VJP
from tinyq.autodiff.tensors import Axes, Index, Tensor


@primitive
def reshape(x: np.ndarray, *, shape: tuple[int, ...]) -> OutputAndVJPs:
    """Return the elements, in C order, in another shape (one of its numbers may be -1)."""
    before = x.shape
    return x.reshape(shape), (lambda g: g.reshape(before),)


@primitive
def flatten(x: np.ndarray, *, start: int = 0) -> OutputAndVJPs:
    """Join the axes from `start` on into one."""
    before = x.shape
    return x.reshape(*before[:start], math.prod(before[start:])), (lambda g: g.reshape(before),)


@primitive
def transpose(x: np.ndarray, *, axes: tuple[int, ...] | None = None) -> OutputAndVJPs:
    """Return x with its axes in the order `axes`, reversed for None."""
    back = None if axes is None else np.argsort(normalize_axis_tuple(axes, x.ndim))
    return x.transpose(axes), (lambda g: g.transpose(back),)


@primitive(broadcasts=True)
def broadcast_to(x: np.ndarray, *, shape: tuple[int, ...]) -> OutputAndVJPs:
    """Return a copy of x broadcast to `shape` by NumPy's rule."""
    return np.broadcast_to(x, shape).copy(), (lambda g: g,)


@primitive
def getitem(x: np.ndarray, *, index: Index) -> OutputAndVJPs:
    """Return x[index] for any index of NumPy's; an element selected several times gets the sum of its gradients."""
    shape = x.shape
    each_once = _is_basic(index)

    def vjp(g):
        gx = np.zeros(shape, g.dtype)
        if each_once:
            gx[index] = g
        else:
            np.add.at(gx, index, g)                         # one after the other, in the order of the index
        return gx

    return x[index], (vjp,)


def _is_basic(index: Index) -> bool:
    """Return True for an index of integers, slices, ... and None: it selects no element twice."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or part is Ellipsis or isinstance(part, int | np.integer | slice) for part in parts)


@primitive
def concatenate(*arrays: np.ndarray, axis: int = 0) -> OutputAndVJPs:
    """Join arrays along an existing axis."""
    y = np.concatenate(arrays, axis)
    ends = np.cumsum([a.shape[axis] for a in arrays])
    return y, tuple(_part(end - a.shape[axis], end, axis) for end, a in zip(ends, arrays, strict=True))


def _part(start: int, end: int, axis: int) -> VJP:
    """Return the vjp that cuts [start, end) out of g along `axis`."""
    return lambda g: np.moveaxis(np.moveaxis(g, axis, 0)[start:end], 0, axis)


@primitive
def stack(*arrays: np.ndarray, axis: int = 0) -> OutputAndVJPs:
    """Join arrays of one shape along a new axis."""
    return np.stack(arrays, axis), tuple(_slice(i, axis) for i in range(len(arrays)))


def _slice(i: int, axis: int) -> VJP:
    """Return the vjp that takes slice i of g along `axis`."""
    return lambda g: np.moveaxis(g, axis, 0)[i]


@primitive
def pad(x: np.ndarray, *, widths: Sequence[tuple[int, int]], value: float = 0.0) -> OutputAndVJPs:
    """Pad x with `value`; widths: (before, after) for each axis."""
    if np.shape(widths) != (x.ndim, 2):
        raise ValueError(f"widths {widths} are not (before, after) for each of {x.ndim} axes")
    inside = tuple(slice(before, before + n) for (before, _), n in zip(widths, x.shape, strict=True))
    return np.pad(x, widths, constant_values=value), (lambda g: g[inside],)


def squeeze(x: Tensor, axis: Axes = None) -> Tensor:
    """Remove the axes `axis`, which have size 1; all such axes for None."""
    return reshape(x, shape=np.empty(x.shape, bool).squeeze(axis).shape)


def expand_dims(x: Tensor, axis: int | tuple[int, ...]) -> Tensor:
    """Insert axes of size 1, so that they are the axes `axis` of the result."""
    return reshape(x, shape=np.expand_dims(np.empty(x.shape, bool), axis).shape)


def swapaxes(x: Tensor, axis1: int, axis2: int) -> Tensor:
    """Exchange two axes."""
    order = list(range(x.ndim))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return transpose(x, axes=tuple(order))


def split(x: Tensor, parts: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """Cut x along `axis` into `parts` equal pieces, or before the indices `parts`, as NumPy does."""
    pieces = np.split(np.arange(x.shape[axis]), parts)
    return [_along(x, axis, slice(*piece[[0, -1]] + (0, 1)) if piece.size else slice(0)) for piece in pieces]


def repeat(x: Tensor, repeats: int | Sequence[int], axis: int) -> Tensor:
    """Repeat each element along `axis`, as NumPy does."""
    return _along(x, axis, np.repeat(np.arange(x.shape[axis]), repeats))


def flip(x: Tensor, axis: Axes = None) -> Tensor:
    """Reverse the order of the elements along `axis`, along all axes for None."""
    axes = normalize_axis_tuple(range(x.ndim) if axis is None else axis, x.ndim)
    return getitem(x, index=tuple(slice(None, None, -1 if a in axes else None) for a in range(x.ndim)))


def gather(x: Tensor, index: np.ndarray, axis: int) -> Tensor:
    """Return y[i, j, ...] = x[i, j, ..., index[i, j, ...], ...], the index at `axis`; torch.gather."""
    grid = list(np.ogrid[tuple(slice(n) for n in np.shape(index))])
    grid[axis] = np.asarray(index)
    return getitem(x, index=tuple(grid))


def _along(x: Tensor, axis: int, index: Index) -> Tensor:
    """Return x indexed along one axis."""
    return getitem(x, index=(slice(None),) * (axis % max(1, x.ndim)) + (index,))
