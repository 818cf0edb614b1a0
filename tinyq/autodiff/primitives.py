"""Primitives: functions of arrays that know their gradient, and record themselves on the tape when called.

A primitive's *rule* takes arrays and returns its output and one *vjp* per array input: vjp(g) is the gradient at
that input when g is the one at the output; None stands where no gradient flows.

    @primitive
    def square(x):
        return x * x, (lambda g: 2 * x * g,)

A vjp keeps alive whatever it names until backward has passed it, so a rule binds what its vjps read and no more.
"""
import inspect

import numpy as np

from tinyq import kernels
from tinyq.autodiff import tape
from tinyq.autodiff.tape import Node, Tensor
from tinyq.errors import TinyqError, UsageError

PRIMITIVES: dict[str, "Primitive"] = {}         # every declared primitive by its name


class Primitive:
    """A rule that can be called with tensors, arrays and None, and then records itself.

    rule: rule(*arrays, **params) -> (y, vjps), and anything more is handed on beside the output Tensor.
    broadcasts: vjps may return the output's shape; the sum over stretched axes is done here, once, for all.
    surrogate: the rule, or plain function, whose derivative the vjps claim to be when it is not the rule's own.
    """

    def __init__(self, rule, broadcasts=False, surrogate=None):
        """Wrap a rule without entering it in PRIMITIVES."""
        self.rule, self.broadcasts, self.surrogate = rule, broadcasts, surrogate
        self.name, self.__name__, self.__doc__, self.__wrapped__ = rule.__name__, rule.__name__, rule.__doc__, rule
        parameters = inspect.signature(rule).parameters.values()
        self._arrays = {p.name: p.default for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD}

    def __repr__(self):
        """The name."""
        return f"<primitive {self.name}>"

    def __call__(self, *inputs, **params):
        """Apply the rule; the output is a Tensor that knows its inputs if one of them wants a gradient."""
        if params and not self._arrays.keys().isdisjoint(params):
            inputs, params = self._positional(inputs, params)
        arrays, parents, dtype = [], [], None
        for x in inputs:
            parent = None
            if isinstance(x, Tensor):
                parent = x.node or (x if x.requires_grad else None)
                x = x.data
            elif x is not None and type(x) is not np.ndarray:
                x = self._array(x)
            if x is not None and x.dtype is not dtype:
                dtype = self._common_dtype(dtype, x.dtype, inputs)
            arrays.append(x)
            parents.append(parent)
        if dtype is None:
            raise UsageError(f"{self.name}: no input is float32 or float64; inputs: {_shown(inputs)}")
        try:
            y, vjps, *more = self.rule(*arrays, **params)
        except (ValueError, IndexError) as error:           # NumPy's complaints about shapes and indices
            raise UsageError(f"{self.name}: {' '.join(str(error).split())}; inputs: {_shown(inputs)}") from error
        output = self._tensor(y, dtype)
        if tape.recording and parents.count(None) < len(parents):
            self._record(output, parents, vjps, params)
        if tape.tracer:
            tape.tracer(self, arrays, params, output)
        return (output, *more) if more else output

    def gradient(self, vjp, g, position, like):
        """What `vjp` makes of g for the input at `position`, in the shape and dtype of `like`; else TinyqError."""
        gx = vjp(g)
        if type(gx) is not np.ndarray:
            gx = np.asarray(gx)                             # NumPy turns 0-d arrays into scalars
        if self.broadcasts and gx.shape != like.shape:
            gx = unbroadcast(gx, like.shape)
        if gx.shape != like.shape or gx.dtype != like.dtype:
            raise TinyqError(f"{self.name}: the gradient of input {position} is {gx.dtype} {gx.shape}, "
                             f"the input {like.dtype} {like.shape}")
        return gx

    def _record(self, output, parents, vjps, params):
        if len(vjps) < len(parents):
            raise TinyqError(f"{self.name}: the rule returns {len(vjps)} vjps for {len(parents)} inputs")
        edges = [(position, parent, vjp) for position, (parent, vjp) in enumerate(zip(parents, vjps, strict=False))
                 if parent is not None and vjp is not None]
        if edges:
            output.node, output.requires_grad = Node(self, params, edges, output.data), True

    def _tensor(self, y, dtype):
        if type(y) is not np.ndarray:
            y = np.asarray(y)
        if y.dtype != dtype:
            raise TinyqError(f"{self.name}: the rule made {y.dtype} of {dtype} inputs")
        output = Tensor.__new__(Tensor)                     # checked already: past __init__
        output.data, output.grad, output.requires_grad, output.node = y, None, False, None
        return output

    def _common_dtype(self, dtype, other, inputs):
        """The dtype of all float inputs; those of labels, masks and indices do not count."""
        if other.kind != "f":
            return dtype
        if dtype is None or dtype == other:                 # the first test is not idle: a dtype equals None if float64
            return other
        raise UsageError(f"{self.name}: float32 and float64 do not mix; inputs: {_shown(inputs)}")

    def _array(self, x):
        if isinstance(x, np.ndarray | np.generic):
            return np.asarray(x)
        raise UsageError(f"{self.name}: an input is a {type(x).__name__}; give a Tensor, an array or None")

    def _positional(self, inputs, params):
        """The same call with the array inputs that came as keywords in their places."""
        params, inputs = dict(params), list(inputs)
        for name, default in list(self._arrays.items())[len(inputs):]:
            x = params.pop(name, default)
            if x is inspect.Parameter.empty:
                raise TypeError(f"{self.name}() is missing the array {name!r}")
            inputs.append(x)
        return inputs, params


def primitive(rule=None, *, broadcasts=False, surrogate=None):
    """Declare a rule a primitive and enter it in PRIMITIVES; see Primitive for the two options."""
    if rule is None:
        return lambda rule: primitive(rule, broadcasts=broadcasts, surrogate=surrogate)
    known = PRIMITIVES.get(rule.__name__)
    if known is not None and known.rule.__module__ != rule.__module__:
        raise TinyqError(f"primitive {rule.__name__!r} is declared in {known.rule.__module__} and {rule.__module__}")
    PRIMITIVES[rule.__name__] = op = Primitive(rule, broadcasts, surrogate)
    return op


class once:
    """What several vjps of one node need of g, worked out by the first of them that is called."""

    __slots__ = ("work", "g", "result")

    def __init__(self, work):
        """work: a function of g."""
        self.work, self.g, self.result = work, None, None

    def __call__(self, g):
        """work(g), remembered for as long as the same array comes in."""
        if self.g is not g:
            self.g, self.result = g, self.work(g)
        return self.result


def check_channels(count, **arrays):
    """ValueError unless each array is None or holds one number for each of `count` channels."""
    for name, a in arrays.items():
        if a is not None and a.shape != (count,):
            raise ValueError(f"{name} must be ({count},)")


def unbroadcast(g, shape):
    """Sum g over the axes along which an array of `shape` was stretched; g itself if it was not such a stretch."""
    lead = g.ndim - len(shape)
    if lead < 0 or any(n not in (1, m) for n, m in zip(shape, g.shape[lead:], strict=True)):
        return g
    stretched = (axis for axis in range(lead, g.ndim) if shape[axis - lead] != g.shape[axis])
    return kernels.sum(g, (*range(lead), *stretched)).reshape(shape)


def _shown(inputs):
    """Dtypes and shapes of a call's inputs, for one line of an error."""
    return ", ".join("None" if x is None else f"{x.dtype} {x.shape}" for x in inputs)
