"""Matrix products and einsum; each 2-d product is one call of kernels.matmul, which fixes the order of its sums."""
import math

import numpy as np

from tinyq import kernels
from tinyq.autodiff.primitives import OutputAndVJPs, once, primitive
from tinyq.autodiff.reductions import sum
from tinyq.autodiff.shape import getitem, reshape, transpose
from tinyq.autodiff.tensors import Tensor
from tinyq.errors import UsageError
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
        raise ValueError("the input must be (n, in) and the weight (out, in), with the same in")
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


def einsum(equation: str, *operands: Tensor) -> Tensor:
    """Return the sum of products that the equation names, such as einsum("nij,njk->nik", x, y), as NumPy does.

    The operands are multiplied from left to right, each pair as matrices. UsageError for an equation that does not fit.
    """
    inputs, output = _labels(equation, [x.ndim for x in operands])
    y, labels = _diagonal(operands[0], inputs[0])
    for i, x in enumerate(operands[1:], 1):
        y, labels = _contracted(y, labels, *_diagonal(x, inputs[i]), {*output, *"".join(inputs[i + 1:])})
    y = sum(y, axis=tuple(i for i, label in enumerate(labels) if label not in output))
    left = [label for label in labels if label in output]
    return transpose(y, axes=tuple(left.index(label) for label in output))


def _labels(equation: str, ndims: list[int]) -> tuple[list[str], str]:
    """Return the labels of each operand and of the output; those of an ellipsis become digits."""
    left, arrow, output = equation.replace(" ", "").partition("->")
    inputs = left.split(",")
    hidden = [ndim + 3 - len(labels) if "..." in labels else 0 for labels, ndim in zip(inputs, ndims, strict=False)]
    digits = "0123456789"[:max([0, *hidden])]
    inputs = [labels.replace("...", digits[len(digits) - n:]) for labels, n in zip(inputs, hidden, strict=False)]
    joined = "".join(inputs)
    output = output.replace("...", digits) if arrow else digits + "".join(
        sorted(label for label in set(joined) - set(digits) if joined.count(label) == 1))
    if [len(labels) for labels in inputs] != ndims or set(output) - set(joined) or len(set(output)) < len(output):
        raise UsageError(f"einsum {equation!r}: does not fit operands with {ndims} axes")
    return inputs, output


def _diagonal(x: Tensor, labels: str) -> tuple[Tensor, str]:
    """Return (x with one axis for each label, along the diagonal of the axes that share one, its labels)."""
    for label in sorted(set(labels)):
        while labels.count(label) > 1:
            pair = labels.index(label), labels.rindex(label)
            others = [i for i in range(x.ndim) if i not in pair]
            n = np.arange(x.shape[pair[0]])
            x = getitem(transpose(x, axes=(*pair, *others)), index=(n, n))
            labels = label + "".join(labels[i] for i in others)
    return x, labels


def _contracted(x: Tensor, x_labels: str, y: Tensor, y_labels: str, needed: set[str]) -> tuple[Tensor, str]:
    """Return (product of x and y, summed over the labels of both that are not needed, its labels)."""
    batch, inner = ("".join(a for a in x_labels if a in y_labels and (a in needed) == kept) for kept in (True, False))
    rows, columns = "".join(a for a in x_labels if a not in y_labels), "".join(a for a in y_labels if a not in x_labels)
    z = matmul(_as_matrices(x, x_labels, batch, rows, inner), _as_matrices(y, y_labels, batch, inner, columns))
    sizes = dict(zip(x_labels + y_labels, x.shape + y.shape, strict=True))
    return reshape(z, shape=(*z.shape[:-2], *(sizes[a] for a in rows + columns))), batch + rows + columns


def _as_matrices(x: Tensor, labels: str, *groups: str) -> Tensor:
    """Return x as (*batch, rows, columns), these being the labels of the three groups."""
    sizes = [[x.shape[labels.index(a)] for a in group] for group in groups]
    ordered = transpose(x, axes=tuple(labels.index(a) for a in "".join(groups)))
    return reshape(ordered, shape=(*sizes[0], *map(math.prod, sizes[1:])))
