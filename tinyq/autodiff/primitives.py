"""Primitives: functions of arrays with their gradients, whose calls are recorded on the tape.

The *forward* function of a primitive takes arrays. It returns its output and one *vjp* (vector-Jacobian product) per
array input: vjp(g) is the gradient at that input if g is the gradient at the output. None stands for no gradient.

    @primitive
    def square(x):
        return x * x, (lambda g: 2 * x * g,)

A vjp keeps the arrays that it names in memory until backward has passed it.
"""
from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, Generic, Literal, TypeAlias, TypeVar, cast, overload

import numpy as np

from tinyq import kernels
from tinyq.autodiff import tape
from tinyq.autodiff.tape import VJP, Edge, Node, Read
from tinyq.autodiff.tensors import NUMBERS, Tensor
from tinyq.errors import TinyqError, UsageError, check_parameters

VJPs: TypeAlias = tuple[VJP | None, ...]          # one per array input, None where no gradient flows
OutputAndVJPs: TypeAlias = tuple[np.ndarray, VJPs]  # what a forward function returns

PRIMITIVES: dict[str, Primitive[Any]] = {}         # every declared primitive by its name

Result = TypeVar("Result")                          # Tensor, or (Tensor, *auxiliary)
Shared = TypeVar("Shared")


class Primitive(Generic[Result]):
    """Forward function that takes Tensors, arrays and None, and records each call on the tape.

    forward: forward(*arrays, **params) -> (y, vjps), or (y, vjps, auxiliary) if `auxiliary`.
    broadcasts: vjps may return the shape of the output, which is then summed over the stretched axes.
    surrogate: function whose derivative the vjps are, if it is not `forward`.
    auxiliary: a call returns (output, *auxiliary); these carry no gradient.
    """

    def __init__(self, forward: Callable[..., Any], broadcasts: bool = False,
                 surrogate: Callable[..., Any] | None = None, auxiliary: bool = False) -> None:
        """Wrap a forward function without entering it in PRIMITIVES."""
        self.forward, self.broadcasts, self.surrogate, self.auxiliary = forward, broadcasts, surrogate, auxiliary
        self.name = self.__name__ = forward.__name__
        self.__doc__, self.__wrapped__ = forward.__doc__, forward
        parameters = inspect.signature(forward).parameters.values()
        self._arrays = {p.name: p.default for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD}
        self._options = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
        self._joins, self._open = (any(p.kind is kind for p in parameters)
                                   for kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD))

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    def __call__(self, *inputs: Any, **params: Any) -> Result:
        """Apply `forward`; the output is a Tensor that knows its inputs if one of them requires a gradient.

        Parameters may follow the arrays by position; of several arrays, such as those of a concatenation, after a list.
        """
        if self._joins or len(inputs) > len(self._arrays):
            inputs, params = self._spread(inputs, params)
        if params:
            if not self._open:
                check_parameters(self.name, params, (*self._arrays, *self._options))
            if not self._arrays.keys().isdisjoint(params):
                inputs, params = self._bind(inputs, params)
        arrays, parents, dtype = self._unwrap(inputs)
        y, vjps, auxiliary = self._apply(arrays, params, inputs)
        output = self._wrap(y, dtype, arrays)
        state = tape.state
        if parents and state.recording:
            self._record(output, inputs, arrays, parents, vjps, params)
        if state.tracer:
            given = tuple(x if isinstance(x, Tensor) else a for x, a in zip(inputs, arrays, strict=True))
            state.tracer(self, given, params, output)
        return cast(Result, (output, *auxiliary) if self.auxiliary else output)

    def gradient(self, vjp: VJP, g: np.ndarray, position: int, like: Any) -> np.ndarray:
        """Return vjp(g) for the input at `position`, in the shape and dtype of `like`; TinyqError for any other."""
        gx = vjp(g)
        if type(gx) is not np.ndarray:
            gx = np.asarray(gx)                             # NumPy turns 0-d arrays into scalars
        if self.broadcasts and gx.shape != like.shape:
            gx = unbroadcast(gx, like.shape)
        if gx.shape != like.shape or gx.dtype != like.dtype:
            raise TinyqError(f"{self.name}: the gradient of input {position} is {gx.dtype} {gx.shape}, "
                             f"the input {like.dtype} {like.shape}")
        return gx

    def _spread(self, inputs: tuple[Any, ...], params: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return (the array inputs, the params with those given by position)."""
        count = len(self._arrays)
        if self._joins:
            listed, *others = inputs if inputs and isinstance(inputs[0], list | tuple) else (inputs,)
            inputs, count = (*listed, *others), len(listed)
        if len(inputs) > count + len(self._options):
            takes = ", ".join([*self._arrays, *self._options])
            raise UsageError(f"{self.name}: {len(inputs)} inputs; it takes {takes}")
        return inputs[:count], {**dict(zip(self._options, inputs[count:], strict=False)), **params}

    def _bind(self, inputs: tuple[Any, ...], params: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Move array inputs given as keywords to their positions."""
        params, bound = dict(params), list(inputs)
        for name, default in list(self._arrays.items())[len(bound):]:
            x = params.pop(name, default)
            if x is inspect.Parameter.empty:
                raise TypeError(f"{self.name}() is missing the array {name!r}")
            bound.append(x)
        return tuple(bound), params

    def _unwrap(self, inputs: tuple[Any, ...]) -> tuple[list[Any], list[tuple[int, Any]], np.dtype[Any]]:
        """Return (arrays of the inputs, nodes and leaves by position, the inputs' common float dtype).

        Numbers become arrays of that dtype.
        """
        arrays: list[Any] = []
        parents: list[tuple[int, Any]] = []
        dtype, numbers = None, False
        for x in inputs:
            if isinstance(x, Tensor):
                if x.node is not None:
                    parents.append((len(arrays), x.node))
                elif x.requires_grad:
                    parents.append((len(arrays), x))
                x = x._data
            elif x is not None and type(x) is not np.ndarray:
                x, number = self._array(x)
                numbers |= number
            if type(x) is np.ndarray and x.dtype is not dtype:
                dtype = self._common_dtype(dtype, x.dtype, inputs)
            arrays.append(x)
        if dtype is None:
            raise UsageError(f"{self.name}: no input is float32 or float64; inputs: {_described(inputs)}")
        if numbers:
            arrays = [np.asarray(x, dtype) if isinstance(x, NUMBERS) else x for x in arrays]
        return arrays, parents, dtype

    def _apply(self, arrays: list[Any], params: dict[str, Any], inputs: tuple[Any, ...]) -> tuple[Any, Any, Any]:
        """Return (y, vjps, auxiliary outputs) of the forward function, or of its replacement."""
        forward, replaced = self.forward, tape.state.replaced
        if replaced:
            forward = replaced.get(self, forward)
        try:
            made = forward(*arrays, **params)
        except (ValueError, IndexError) as error:           # NumPy's complaints about shapes and indices
            raise UsageError(f"{self.name}: {' '.join(str(error).split())}; inputs: {_described(inputs)}") from error
        except (AttributeError, TypeError) as error:
            given = zip(self._arrays.items(), arrays, strict=False)
            if none := [name for (name, default), a in given if a is None and default is not None]:
                raise UsageError(f"{self.name}: {none[0]} is None; give a Tensor, an array or a number") from error
            raise
        if len(made) != 2 + self.auxiliary:
            raise TinyqError(f"{self.name}: the forward function returns {len(made)} values; "
                             f"{2 + self.auxiliary} are declared")
        return (*made, ()) if not self.auxiliary else made

    def _wrap(self, y: Any, dtype: np.dtype[Any], arrays: list[Any]) -> Tensor:
        if type(y) is not np.ndarray:
            y = np.asarray(y)
        if y.dtype != dtype:
            whole = any(a is not None and a.dtype.kind in "iub" for a in arrays)
            raise (UsageError if whole else TinyqError)(
                f"{self.name}: the forward function made {y.dtype} of {dtype} inputs; inputs: {_described(arrays)}"
                + (f"; convert the whole numbers with astype(np.{dtype})" if whole else ""))
        output = Tensor.__new__(Tensor)                     # checked already: past __init__
        output._data, output.changes, output.hooks = y, 0, ()
        output.grad, output.requires_grad, output.node, output.parameter = None, False, None, None
        return output

    def _record(self, output: Tensor, inputs: tuple[Any, ...], arrays: list[Any], parents: list[tuple[int, Any]],
                vjps: Any, params: dict[str, Any]) -> None:
        if len(vjps) < len(arrays):
            raise TinyqError(f"{self.name}: the forward function returns {len(vjps)} vjps for {len(arrays)} inputs")
        edges: list[Edge] = [(i, parent, vjps[i]) for i, parent in parents if vjps[i] is not None]
        if edges:
            read = [Read(x if isinstance(x, Tensor) else None, a) for x, a in zip(inputs, arrays, strict=True)
                    if type(x) is np.ndarray or isinstance(x, Tensor) and x.node is None]
            output.node, output.requires_grad = Node(self, params, edges, read, output._data), True

    def _common_dtype(self, dtype: Any, other: np.dtype[Any], inputs: tuple[Any, ...]) -> Any:
        """Return the common dtype of the float inputs; labels, masks and indices do not count."""
        if other.kind != "f":
            return dtype
        if dtype is None or dtype == other:                 # `is None` is needed: float64's dtype equals None
            return other
        raise UsageError(f"{self.name}: float32 and float64 do not mix; inputs: {_described(inputs)}")

    def _array(self, x: Any) -> tuple[Any, bool]:
        """Return (array, False), or (number, True) for a number that takes the dtype of the other inputs."""
        if isinstance(x, NUMBERS) and not isinstance(x, bool | np.bool_):
            return x, True
        if isinstance(x, np.ndarray | np.generic | bool):
            return np.asarray(x), False
        raise UsageError(f"{self.name}: an input is a {type(x).__name__}; give a Tensor, an array, a number or None")


@overload
def primitive(forward: Callable[..., Any]) -> Primitive[Tensor]: ...
@overload
def primitive(*, broadcasts: bool = ..., surrogate: Callable[..., Any] | None = ..., auxiliary: Literal[False] = ...,
              ) -> Callable[[Callable[..., Any]], Primitive[Tensor]]: ...
@overload
def primitive(*, broadcasts: bool = ..., surrogate: Callable[..., Any] | None = ..., auxiliary: Literal[True],
              ) -> Callable[[Callable[..., Any]], Primitive[tuple[Any, ...]]]: ...
def primitive(forward: Callable[..., Any] | None = None, *, broadcasts: bool = False,
              surrogate: Callable[..., Any] | None = None, auxiliary: bool = False) -> Any:
    """Declare a forward function a primitive and enter it in PRIMITIVES; see Primitive for the options."""
    if forward is None:
        return lambda forward: _declare(Primitive(forward, broadcasts, surrogate, auxiliary))
    return _declare(Primitive(forward, broadcasts, surrogate, auxiliary))


def _declare(op: Primitive[Any]) -> Primitive[Any]:
    known, home = PRIMITIVES.get(op.name), op.forward.__module__
    if known is not None and known.forward.__module__ != home:
        raise TinyqError(f"primitive {op.name!r} is declared in {known.forward.__module__} and {home}")
    PRIMITIVES[op.name] = op
    return op


def once(work: Callable[[np.ndarray], Shared]) -> Callable[[np.ndarray], Shared]:
    """Share work(g) among the vjps of one node.

    The first call computes it; further calls with the same array return the same result.
    """
    kept: list[Any] = [None, None]

    def shared(g: np.ndarray) -> Shared:
        if kept[0] is not g:
            kept[:] = g, work(g)
        return cast(Shared, kept[1])

    return shared


def shared_vjps(work: Callable[[np.ndarray], tuple[np.ndarray | None, ...]], count: int) -> tuple[VJP, ...]:
    """Return `count` vjps of one computation: the i-th returns work(g)[i], and work(g) is computed once."""
    gradients = once(work)
    return tuple(cast(VJP, lambda g, i=i: gradients(g)[i]) for i in range(count))


def in_float64(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Let a forward function and its vjps compute in float64, and round their results once to the dtype of the inputs.

    So sums and functions of float32 numbers lose nothing on the way, and cost more than a kernel.
    """
    quiet = np.errstate(all="ignore")                       # as kernels are: infinities and NaNs are results

    @functools.wraps(forward)
    @quiet
    def computed(*arrays: Any, **params: Any) -> OutputAndVJPs:
        dtype = next(a.dtype for a in arrays if a is not None and a.dtype.kind == "f")
        wide = once(lambda g: g.astype(np.float64))
        y, vjps = forward(*(a.astype(np.float64) if a is not None and a.dtype.kind == "f" else a for a in arrays),
                          **params)
        return y.astype(dtype), tuple(vjp and quiet(lambda g, vjp=vjp: vjp(wide(g)).astype(dtype)) for vjp in vjps)

    return computed


def unbroadcast(g: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Sum g over the axes along which an array of `shape` was stretched; return g itself if none was."""
    lead = g.ndim - len(shape)
    if lead < 0 or any(n not in (1, m) for n, m in zip(shape, g.shape[lead:], strict=True)):
        return g
    stretched = (axis for axis in range(lead, g.ndim) if shape[axis - lead] != g.shape[axis])
    return kernels.sum(g, (*range(lead), *stretched)).reshape(shape)


def _described(inputs: Iterable[Any]) -> str:
    """Return the dtypes and shapes of the inputs of a call, for one line of an error."""
    shaped = Tensor | np.ndarray | np.generic
    return ", ".join(f"{x.dtype} {x.shape}" if isinstance(x, shaped) else str(x) for x in inputs)
