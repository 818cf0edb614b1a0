"""Tensor: an array with the node that made it, and the operators and methods that apply primitives."""
from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tinyq import kernels
from tinyq.autodiff import tape
from tinyq.errors import UsageError

if TYPE_CHECKING:
    from tinyq.autodiff.tape import Node

Operand: TypeAlias = "Tensor | np.ndarray | np.generic | float"
Index: TypeAlias = Any                  # any index that NumPy accepts
Axes: TypeAlias = "int | tuple[int, ...] | None"
NUMBERS = (int, float, np.integer, np.floating, np.bool_)       # what counts as a number beside a tensor


class Tensor:
    """Float32 or float64 array, with the node that made it if a leaf behind it requires a gradient.

    data: the array; what is assigned to it counts as a change. grad: of a leaf, the sum of the gradients of all
    `backward` calls, else None. node: None for a leaf or a constant. parameter: the leaf whose effective value this
    tensor is, None for the leaf itself. changes: counts what changed the array. Comparisons are elementwise; as a key,
    or in a set, a tensor is itself alone.
    """

    __slots__ = ("_data", "changes", "grad", "requires_grad", "node", "parameter", "__weakref__")
    __array_ufunc__ = None                      # array + tensor calls Tensor.__radd__, not a ufunc
    __hash__ = object.__hash__

    _data: np.ndarray
    changes: int
    grad: np.ndarray | None
    requires_grad: bool
    node: Node | None
    parameter: Tensor | None

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        """Make a leaf (requires_grad) or a constant; UsageError unless `data` is a float32 or float64 array."""
        self._data, self.changes = np.asarray(data), 0
        if self._data.dtype not in (np.float32, np.float64):
            raise UsageError(f"Tensor: the data is {self._data.dtype}; give float32 or float64")
        self.grad, self.requires_grad, self.node, self.parameter = None, requires_grad, None, None

    @property
    def data(self) -> np.ndarray:
        """The array."""
        return self._data

    @data.setter
    def data(self, array: np.ndarray) -> None:
        self._data = np.asarray(array)
        self.changed()

    def changed(self) -> None:
        """Note that the array was changed in place: no `backward` may pass what was computed from it before."""
        self.changes += 1
        if self.node is not None:
            self.node.overwritten = True

    def accumulate(self, g: np.ndarray) -> None:
        """Add g to `.grad`, as `backward` does at the end."""
        self.grad = g if self.grad is None else kernels.add(self.grad, g)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self._data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the array."""
        return self._data.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._data.ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        return self._data.size

    def item(self) -> float:
        """Return the single element as a Python float; UsageError if there are more, or none."""
        if self._data.size != 1:
            raise UsageError(f"a tensor of {self.shape} is not one number; index it, or reduce it")
        return self._data.item()

    def __float__(self) -> float:
        return self.item()

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self._data, dtype=dtype, copy=copy)

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self._data)))

    def __eq__(self, other: object) -> np.ndarray:              # type: ignore[override]
        return np.equal(self._data, _array_of(other))

    def __ne__(self, other: object) -> np.ndarray:              # type: ignore[override]
        return np.not_equal(self._data, _array_of(other))

    def __lt__(self, other: Operand) -> np.ndarray:
        return np.less(self._data, _array_of(other))

    def __le__(self, other: Operand) -> np.ndarray:
        return np.less_equal(self._data, _array_of(other))

    def __gt__(self, other: Operand) -> np.ndarray:
        return np.greater(self._data, _array_of(other))

    def __ge__(self, other: Operand) -> np.ndarray:
        return np.greater_equal(self._data, _array_of(other))

    def backward(self, g: np.ndarray | None = None) -> None:
        """Add the gradient of each leaf behind this tensor to its `.grad`, and free the recorded graph.

        g: gradient at this tensor, of its shape and dtype; optional if the tensor has one element.
        """
        tape.backward(self, g)

    def __add__(self, other: Operand) -> Tensor:
        from tinyq.autodiff.elementwise import add
        return add(self, _like(other, self))

    def __radd__(self, other: Operand) -> Tensor:
        from tinyq.autodiff.elementwise import add
        return add(_like(other, self), self)

    def __sub__(self, other: Operand) -> Tensor:
        from tinyq.autodiff.elementwise import sub
        return sub(self, _like(other, self))

    def __rsub__(self, other: Operand) -> Tensor:
        from tinyq.autodiff.elementwise import sub
        return sub(_like(other, self), self)

    def __mul__(self, other: Operand) -> Tensor:
        from tinyq.autodiff.elementwise import mul
        return mul(self, _like(other, self))

    def __rmul__(self, other: Operand) -> Tensor:
        from tinyq.autodiff.elementwise import mul
        return mul(_like(other, self), self)

    def __truediv__(self, other: Operand) -> Tensor:
        from tinyq.autodiff.elementwise import div
        return div(self, _like(other, self))

    def __rtruediv__(self, other: Operand) -> Tensor:
        from tinyq.autodiff.elementwise import div
        return div(_like(other, self), self)

    def __matmul__(self, other: Operand) -> Tensor:
        from tinyq.autodiff.linalg import matmul
        return matmul(self, _like(other, self))

    def __rmatmul__(self, other: Operand) -> Tensor:
        from tinyq.autodiff.linalg import matmul
        return matmul(_like(other, self), self)

    def __neg__(self) -> Tensor:
        from tinyq.autodiff.elementwise import neg
        return neg(self)

    def __pow__(self, exponent: float) -> Tensor:
        from tinyq.autodiff.elementwise import power
        return power(self, exponent=exponent)

    def __getitem__(self, index: Index) -> Tensor:
        from tinyq.autodiff.shape import getitem
        return getitem(self, index=index)

    def reshape(self, *sizes: Any) -> Tensor:
        """Return the elements in C order in another shape, `reshape(2, -1)` or `reshape((2, -1))`."""
        from tinyq.autodiff.shape import reshape
        return reshape(self, shape=_sizes(sizes))

    def transpose(self, *axes: Any) -> Tensor:
        """Reorder the axes, `transpose(1, 0)` or `transpose((1, 0))`; reverse them if none are given."""
        from tinyq.autodiff.shape import transpose
        return transpose(self, axes=_sizes(axes) or None)

    def sum(self, axes: Axes = None, keepdims: bool = False) -> Tensor:
        """Sum over `axes`, all of them for None."""
        from tinyq.autodiff.reductions import sum
        return sum(self, axes=axes, keepdims=keepdims)

    def mean(self, axes: Axes = None, keepdims: bool = False) -> Tensor:
        """Average over `axes`, all of them for None."""
        from tinyq.autodiff.reductions import mean
        return mean(self, axes=axes, keepdims=keepdims)

    def max(self, axes: Axes = None, keepdims: bool = False) -> Tensor:
        """Maximum over `axes`, all of them for None; equal elements share the gradient."""
        from tinyq.autodiff.reductions import max
        return max(self, axes=axes, keepdims=keepdims)

    def relu(self) -> Tensor:
        """Return max(x, 0) of each element."""
        from tinyq.autodiff.elementwise import relu
        return relu(self)

    def exp(self) -> Tensor:
        """Return e ** x of each element."""
        from tinyq.autodiff.elementwise import exp
        return exp(self)

    def log(self) -> Tensor:
        """Return the natural logarithm of each element."""
        from tinyq.autodiff.elementwise import log
        return log(self)

    def tanh(self) -> Tensor:
        """Return the hyperbolic tangent of each element."""
        from tinyq.autodiff.elementwise import tanh
        return tanh(self)

    def sigmoid(self) -> Tensor:
        """Return 1 / (1 + e ** -x) of each element."""
        from tinyq.autodiff.elementwise import sigmoid
        return sigmoid(self)

    def __repr__(self) -> str:
        origin = f", from {self.node.primitive.name}" if self.node else ", requires_grad" if self.requires_grad else ""
        return f"Tensor({self.dtype} {self.shape}{origin}: {np.array2string(self._data, threshold=20)})"


def detach(x: Tensor) -> Tensor:
    """Return the same array as a constant: no gradient flows back through it."""
    y = Tensor(x._data)
    y.parameter = x if x.parameter is None and x.requires_grad and x.node is None else x.parameter
    return y


def _like(value: Operand, x: Tensor) -> Tensor | np.ndarray | np.generic:
    """Convert a number or an array of whole numbers to an array of x's dtype; leave anything else to the primitive."""
    if isinstance(value, NUMBERS) or isinstance(value, np.ndarray) and value.dtype.kind in "iub":
        return np.asarray(value, x.dtype)
    return value


def _array_of(value: Any) -> Any:
    return value._data if isinstance(value, Tensor) else value


def _sizes(arguments: tuple[Any, ...]) -> Any:
    """Return the sizes in the arguments of f(2, 3) or f((2, 3))."""
    return arguments[0] if len(arguments) == 1 and not isinstance(arguments[0], int) else arguments
