"""Check of gradients by finite differences in float64, for one primitive or for a whole loss.

Each input gets a verdict:
  ok         the gradient is the derivative
  kink       no derivative exists here (relu at 0, a tie in max pooling); the gradient lies between the one-sided slopes
  surrogate  the gradient is the derivative of the surrogate that the primitive declares
  wrong      none of these
"""
import math
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np

from tinyq.autodiff.primitives import Primitive
from tinyq.autodiff.tape import Node, no_record, replacing
from tinyq.autodiff.tensors import Tensor
from tinyq.checks.finite_differences import compare
from tinyq.errors import TinyqError, UsageError
from tinyq.streams import Stream


@dataclass(frozen=True)
class Finding:
    """Finding about the gradient of one input.

    where: position or name of the input. entry: first wrong element or kink, None for a random direction over all
    elements. analytic: slope by the gradient. left, right: one-sided slopes by differences.
    """

    where: int | str
    verdict: str
    analytic: float
    left: float
    right: float
    entry: tuple[int, ...] | None

    def __str__(self) -> str:
        """One line."""
        at = "" if self.entry is None else f" at {self.entry}"
        what = f"input {self.where}" if isinstance(self.where, int) else self.where
        return (f"the gradient of {what} is {self.verdict}{at}: {self.analytic:.9g} "
                f"against {self.left:.9g} from the left and {self.right:.9g} from the right")


class WrongGradient(TinyqError, AssertionError):
    """Error for a gradient that is not the derivative; `findings` has one Finding per input."""

    def __init__(self, message: str, findings: Sequence[Finding] = ()) -> None:
        """Store the message and the findings."""
        super().__init__(message)
        self.findings = findings


def check_vjp(op: Primitive[Any] | Callable[..., Any], *arrays: np.ndarray | None, rng: Stream, rtol: float = 1e-6,
              **params: Any) -> list[Finding]:
    """Return the findings of examine_vjp; WrongGradient if one of them is "wrong".

    >>> from tinyq import Streams, autodiff, check_vjp
    >>> x = Streams(0).key("x").normal((2, 3))
    >>> check_vjp(autodiff.elementwise.tanh, x, rng=Streams(0).key("check"))[0].verdict
    'ok'
    """
    return _none_wrong(op.__name__, examine_vjp(op, *arrays, rng=rng, rtol=rtol, **params))


def check_gradients(loss_of: Callable[[], Tensor], tensors: dict[str, Tensor] | Sequence[Tensor], *, rng: Stream,
                    rtol: float = 1e-6) -> list[Finding]:
    """Return the findings of examine_gradients; WrongGradient if one of them is "wrong"."""
    return _none_wrong("loss", examine_gradients(loss_of, tensors, rng=rng, rtol=rtol))


def examine_vjp(op: Primitive[Any] | Callable[..., Any], *arrays: np.ndarray | None, rng: Stream, rtol: float = 1e-6,
                **params: Any) -> list[Finding]:
    """Check each vjp of a primitive, or of a forward function, at `arrays` in float64; return a Finding per vjp.

    The incoming gradient is drawn from the Stream rng; its entries are distinct. WrongGradient if the forward function
    or a vjp changes its arguments, or if a second call of a vjp gives other bits. UsageError if rng is no Stream.
    """
    _want_stream("check_vjp", rng)
    op = op if isinstance(op, Primitive) else Primitive(op)
    arrays = tuple(np.asarray(a, np.float64) if _is_float(a) else a for a in arrays)
    before = [None if a is None else a.copy() for a in arrays]
    y, vjps, *_ = op.forward(*arrays, **params)
    g = _incoming(rng, np.shape(y))
    gradients = {i: op.gradient(vjp, g, i, a) for i, (a, vjp) in enumerate(zip(arrays, vjps, strict=False))
                 if vjp is not None and _is_float(a)}
    _called_again(op, vjps, gradients, g.copy(), arrays)
    _unchanged(op, arrays, before)
    found = []
    for i, gradient in gradients.items():
        def output(x, i=i):
            return _output(op.surrogate or op.forward, [*arrays[:i], x, *arrays[i + 1:]], params)

        slope = compare(output, cast(np.ndarray, arrays[i]), gradient, g, _direction(rng, gradient), rtol)
        found.append(_finding(i, op.surrogate, slope))
    return found


def examine_gradients(loss_of: Callable[[], Tensor], tensors: dict[str, Tensor] | Sequence[Tensor], *, rng: Stream,
                      rtol: float = 1e-6, on_tensor: Callable[[], None] = lambda: None) -> list[Finding]:
    """Check the gradients of loss_of(), a Tensor of any shape, at float64 leaves; return a Finding per leaf.

    tensors: {name: leaf}, or a sequence of leaves. Each leaf moves along one random direction. Meanwhile a primitive
    with a surrogate computes the surrogate plus a constant, so that its first output is unchanged; the verdict of the
    leaves behind it is "surrogate" instead of "ok". Leaves keep their data and .grad. on_tensor: called after each
    leaf. UsageError for other tensors.
    """
    _want_stream("check_gradients", rng)
    named = tensors if isinstance(tensors, dict) else dict(enumerate(tensors))
    for name, tensor in named.items():
        if tensor.dtype != np.float64 or not tensor.requires_grad or tensor.node is not None:
            raise UsageError(f"check_gradients: {name} must be a float64 leaf that requires a gradient")
    loss = loss_of()
    g = _incoming(rng, loss.shape)
    primitives, through = _surrogates_behind(loss)
    gradients = _gradients(loss, named, g)
    with _declared(primitives) as restart:
        found = []
        for name, tensor in named.items():
            value = partial(_loss_at, loss_of, tensor, restart)
            slope = compare(value, tensor.data, gradients[name], g, _direction(rng, gradients[name]), rtol)
            found.append(_finding(name, tensor in through, slope))
            on_tensor()
    return found


def _want_stream(check, rng):
    if not isinstance(rng, Stream):
        raise UsageError(f"{check}: rng is a {type(rng).__name__}; give a Stream, such as "
                         'tinyq.Streams(0).key("check")')


def _finding(where, surrogate, slope):
    verdict = "surrogate" if surrogate and slope.verdict == "ok" else slope.verdict
    return Finding(where, verdict, slope.analytic, slope.left, slope.right, slope.entry)


def _none_wrong(name, findings):
    for finding in findings:
        if finding.verdict == "wrong":
            raise WrongGradient(f"{name}: {finding}", findings)
    return findings


def _incoming(rng, shape):
    """Draw an incoming gradient of distinct entries, none near zero: a small one would hide an error of the vjp."""
    z = rng.normal(shape)
    return np.where(z < 0, -0.1, 0.1) + z


def _direction(rng, gradient):
    """Draw a direction of length about 1 in which each |component| is at least 0.1 / sqrt(n).

    It has the signs of the gradient, so that the contributions to the slope do not cancel.
    """
    z = rng.normal(gradient.shape)
    sign = np.where(gradient == 0, np.where(z < 0, -1, 1), np.where(gradient < 0, -1, 1))
    return sign * np.maximum(np.abs(z), 0.1) / math.sqrt(max(gradient.size, 1))


def _is_float(a):
    return a is not None and a.dtype.kind == "f"


def _output(rule, arrays, params):
    """Return the output array of a forward function, or of a plain function."""
    result = rule(*arrays, **params)
    return np.asarray(result[0] if isinstance(result, tuple) else result)


def _called_again(op, vjps, gradients, g, arrays):
    """Call each vjp again with a copy of g; WrongGradient unless it gives the same bits and keeps g."""
    before = g.copy()
    for i, gradient in gradients.items():
        if not np.array_equal(op.gradient(vjps[i], g, i, arrays[i]), gradient, equal_nan=True):
            raise WrongGradient(f"{op.name}: the vjp of input {i} gives other bits when called again")
    if not np.array_equal(g, before):
        raise WrongGradient(f"{op.name}: a vjp changes the gradient it is given")


def _unchanged(op, arrays, before):
    for i, (a, b) in enumerate(zip(arrays, before, strict=True)):
        if a is not None and a.tobytes() != b.tobytes():
            raise WrongGradient(f"{op.name}: input {i} is changed in place")


def _gradients(loss, named, g):
    """Return the gradients by name, zeros for a leaf without one; the leaves keep their .grad."""
    kept = {name: tensor.grad for name, tensor in named.items()}
    for tensor in named.values():
        tensor.grad = None
    try:
        loss.backward(g)
        return {name: np.zeros(t.shape) if t.grad is None else t.grad for name, t in named.items()}
    finally:
        for name, tensor in named.items():
            tensor.grad = kept[name]


def _loss_at(loss_of, tensor, restart, x):
    """Return the loss as an array, with x as the data of the leaf."""
    kept, tensor.data = tensor.data, x
    restart()
    try:
        with no_record():
            return loss_of().data
    finally:
        tensor.data = kept


def _nodes_behind(roots):
    """Return the nodes and leaves behind some nodes, these included."""
    seen, waiting = set(), list(roots)
    while waiting:
        here = waiting.pop()
        if here not in seen:
            seen.add(here)
            waiting.extend(parent for _, parent, _ in getattr(here, "edges", ()))       # a leaf has none
    return seen


def _surrogates_behind(loss):
    """Return (primitives with a surrogate behind a loss, all nodes and leaves behind their applications)."""
    behind = _nodes_behind([loss.node or loss])
    applied = [node for node in behind if isinstance(node, Node) and node.primitive.surrogate]
    return {node.primitive for node in applied}, _nodes_behind(applied)


@contextmanager
def _declared(primitives):
    """Replace the primitives by their surrogates inside, each call shifted by a constant.

    Yields `restart`, which must be called before each pass. The first pass sets the constant of each call to its output
    minus the surrogate's. The order of calls must be the same in each pass.
    """
    shifts: list[np.ndarray] = []
    call = 0

    def restart():
        nonlocal call
        call = 0

    def replay(op, *arrays, **params):
        nonlocal call
        declared = _output(op.surrogate, arrays, params)
        if call == len(shifts):
            shifts.append(_output(op.forward, arrays, params) - declared)
        call += 1
        y, vjps = declared + shifts[call - 1], (None,) * len(arrays)
        return (y, vjps, ()) if op.auxiliary else (y, vjps)

    with replacing({op: partial(replay, op) for op in primitives}):
        yield restart
