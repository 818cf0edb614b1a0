"""Tensor: an array with the node that made it, and the operators and methods that apply primitives."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import MethodType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tinyq import autodiff, kernels
from tinyq.autodiff import tape
from tinyq.errors import UsageError, absent

if TYPE_CHECKING:
    from tinyq.autodiff.tape import Node

Operand: TypeAlias = "Tensor | np.ndarray | np.generic | float"
Index: TypeAlias = Any                  # any index that NumPy accepts
Axes: TypeAlias = "int | tuple[int, ...] | None"
NUMBERS = (int, float, np.integer, np.floating, np.bool_)       # what counts as a number beside a tensor


class _Method:
    """Operation of a module of autodiff as a method: x.exp() is autodiff.elementwise.exp(x)."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __get__(self, x: Tensor | None, owner: type | None = None) -> Callable[..., Tensor]:
        operation = getattr(getattr(autodiff, self.module), self.name)
        return operation if x is None else MethodType(operation, x)


def _methods(module: str, *names: str) -> list[_Method]:
    return [_Method(module, name) for name in names]


class Tensor:
    """Float32 or float64 array, with the node that made it if a leaf behind it requires a gradient.

    data: the array; what is assigned to it counts as a change. grad: of a leaf, the sum of the gradients of all
    `backward` calls, else None. node: None for a leaf or a constant. parameter: the leaf whose effective value this
    tensor is, None for the leaf itself. changes: counts what changed the array. Comparisons are elementwise; as a key,
    or in a set, a tensor is itself alone.
    """

    __slots__ = ("_data", "changes", "grad", "requires_grad", "node", "parameter", "hooks", "__weakref__")
    __array_ufunc__ = None                      # array + tensor calls Tensor.__radd__, not a ufunc
    __hash__ = object.__hash__

    _data: np.ndarray
    changes: int
    grad: np.ndarray | None
    requires_grad: bool
    node: Node | None
    parameter: Tensor | None
    hooks: tuple[tape.Hook, ...]

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        """Make a leaf (requires_grad) or a constant; UsageError unless `data` is a float32 or float64 array."""
        self._data, self.changes, self.hooks = np.asarray(data), 0, ()
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
        return autodiff.elementwise.add(self, _like(other, self))

    def __radd__(self, other: Operand) -> Tensor:
        return autodiff.elementwise.add(_like(other, self), self)

    def __sub__(self, other: Operand) -> Tensor:
        return autodiff.elementwise.sub(self, _like(other, self))

    def __rsub__(self, other: Operand) -> Tensor:
        return autodiff.elementwise.sub(_like(other, self), self)

    def __mul__(self, other: Operand) -> Tensor:
        return autodiff.elementwise.mul(self, _like(other, self))

    def __rmul__(self, other: Operand) -> Tensor:
        return autodiff.elementwise.mul(_like(other, self), self)

    def __truediv__(self, other: Operand) -> Tensor:
        return autodiff.elementwise.div(self, _like(other, self))

    def __rtruediv__(self, other: Operand) -> Tensor:
        return autodiff.elementwise.div(_like(other, self), self)

    def __matmul__(self, other: Operand) -> Tensor:
        return autodiff.linalg.matmul(self, _like(other, self))

    def __rmatmul__(self, other: Operand) -> Tensor:
        return autodiff.linalg.matmul(_like(other, self), self)

    def __neg__(self) -> Tensor:
        return autodiff.elementwise.neg(self)

    def __pow__(self, exponent: Operand) -> Tensor:
        return autodiff.elementwise.pow(self, exponent)

    def __rpow__(self, base: Operand) -> Tensor:
        return autodiff.elementwise.pow(_like(base, self), self)

    def __mod__(self, other: Operand) -> Tensor:
        return autodiff.elementwise.remainder(self, _like(other, self))

    def __floordiv__(self, other: Operand) -> Tensor:
        return autodiff.elementwise.floor_divide(self, _like(other, self))

    def __abs__(self) -> Tensor:
        return autodiff.elementwise.abs(self)

    def __getitem__(self, index: Index) -> Tensor:
        return autodiff.shape.getitem(self, index=index)

    def reshape(self, *sizes: Any) -> Tensor:
        """Return the elements in C order in another shape, `reshape(2, -1)` or `reshape((2, -1))`."""
        return autodiff.shape.reshape(self, shape=_sizes(sizes))

    def transpose(self, *axes: Any) -> Tensor:
        """Reorder the axes, `transpose(1, 0)` or `transpose((1, 0))`; reverse them if none are given."""
        return autodiff.shape.transpose(self, axes=_sizes(axes) or None)

    def flatten(self, start: int = 0) -> Tensor:
        """Join the axes from `start` on into one."""
        return autodiff.shape.flatten(self, start=start)

    @property
    def T(self) -> Tensor:                                      # noqa: N802 (NumPy's name)
        """Transposed matrix; with more axes, these in reverse order."""
        return autodiff.shape.transpose(self)

    def register_hook(self, hook: Callable[[np.ndarray], np.ndarray | None]) -> Callable[[], None]:
        """Call hook(g) with the gradient at this tensor in each backward; an array that it returns replaces g.

        Returns a function that takes the hook off again. UsageError for a constant.
        """
        return tape.register_hook(self, hook)

    abs, clip, exp, log, relu, sigmoid, sqrt, tanh = _methods(
        "elementwise", "abs", "clip", "exp", "log", "relu", "sigmoid", "sqrt", "tanh")
    ceil, cos, expm1, floor, log1p, round, sign, sin = _methods(
        "activations", "ceil", "cos", "expm1", "floor", "log1p", "round", "sign", "sin")
    cumsum, log_softmax, logsumexp, max, mean, min, prod, softmax, std, sum, var = _methods(
        "reductions", "cumsum", "log_softmax", "logsumexp", "max", "mean", "min", "prod", "softmax", "std", "sum",
        "var")
    expand_dims, flip, gather, repeat, squeeze, swapaxes = _methods(
        "shape", "expand_dims", "flip", "gather", "repeat", "squeeze", "swapaxes")

    def split(self, parts: int | Sequence[int], axis: int = 0) -> list[Tensor]:
        """Cut the tensor along `axis` into equal parts, or before the indices `parts`, as NumPy does."""
        return autodiff.shape.split(self, parts, axis)

    if not TYPE_CHECKING:
        def __getattr__(self, name):
            """Raise AttributeError that says what to write instead."""
            raise absent("a Tensor", name, dir(Tensor))

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
