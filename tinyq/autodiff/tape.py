"""Tape: the record of the operations that made each tensor, and the walk back through it.

Gradients are plain arrays: second derivatives are absent on purpose, because no method needs them and a record of the
backward walk would double the tape.
"""
from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tinyq import kernels
from tinyq.errors import UsageError

if TYPE_CHECKING:
    from tinyq.autodiff.primitives import Primitive
    from tinyq.autodiff.tensors import Tensor

VJP: TypeAlias = Callable[[np.ndarray], np.ndarray]
Edge: TypeAlias = "tuple[int, Node | Tensor, VJP]"
Hook: TypeAlias = Callable[[np.ndarray], "np.ndarray | None"]
Tracer: TypeAlias = "Callable[[Primitive[Any], tuple[Any, ...], dict[str, Any], Tensor], object]"
VJPTracer: TypeAlias = "Callable[[Node, int, Node | Tensor, np.ndarray, np.ndarray], object]"

WHOLE, SAMPLED = 2048, 32                   # elements of an array that is compared whole, and of a larger one

_creation = itertools.count()


class _State(threading.local):
    """Switches of the tape, separate for each thread, so that trainings in two threads do not interfere."""

    recording: bool = True                              # True if a call of a primitive makes a node; see no_record
    tracer: Tracer | None = None                        # called after every primitive; see traced
    vjp_tracer: VJPTracer | None = None                 # called after every vjp; see traced_vjps
    replaced: dict[Primitive[Any], Callable[..., Any]] | None = None        # forward functions; see replacing


state = _State()


class Read:
    """An array that a primitive read and no primitive made, as it was then: a leaf's, a constant's or a user's."""

    __slots__ = ("tensor", "array", "changes", "sample")

    def __init__(self, tensor: Tensor | None, array: np.ndarray) -> None:
        """Note the array, of a tensor if it is of one."""
        self.array, self.tensor = array, tensor
        self.changes, self.sample = 0 if tensor is None else tensor.changes, _sample(array)

    @property
    def changed(self) -> bool:
        """True if tinyq changed the array since, or an element of the sample shows that somebody did."""
        return self.tensor is not None and self.tensor.changes != self.changes or _sample(self.array) != self.sample


def _sample(array: np.ndarray) -> bytes:
    """Return the bytes of the elements, of a large array those of SAMPLED to 2 * SAMPLED elements: cheap enough."""
    if array.size <= WHOLE:
        return array.tobytes()
    if array.flags.c_contiguous:
        return array.reshape(-1)[::array.size // SAMPLED].tobytes()
    return array[tuple(slice(None, None, max(1, n // 4)) for n in array.shape)].tobytes()


class Node:
    """One application of a primitive.

    edges: [(position, parent, vjp)] of the inputs that require a gradient, None after the walk; a parent is a Node or a
    leaf. read: its inputs that no primitive made. number: rank in order of creation, larger than that of each parent.
    shape, dtype: those of the output. overwritten: True if somebody assigned other data to the output.
    """

    __slots__ = ("primitive", "params", "edges", "read", "shape", "dtype", "number", "overwritten", "hooks",
                 "__weakref__")

    def __init__(self, primitive: Primitive[Any], params: dict[str, Any], edges: list[Edge], read: list[Read],
                 y: np.ndarray) -> None:
        """Record that `primitive`, called with the keywords `params`, made the array y."""
        self.primitive, self.params, self.read, self.overwritten = primitive, params, read, False
        self.edges: list[Edge] | None = edges
        self.hooks: tuple[Hook, ...] = ()
        self.shape, self.dtype, self.number = y.shape, y.dtype, next(_creation)

    def check_unchanged(self) -> None:
        """Raise UsageError if an array of this call is not what it was: its vjps would be wrong."""
        if self.overwritten:
            raise UsageError(f"backward: the output of {self.primitive.name}, {self.dtype} {self.shape}, was changed "
                             "since; compute it again")
        for read in self.read:
            if read.changed:
                raise UsageError(f"backward: an input of {self.primitive.name}, {read.array.dtype} {read.array.shape}, "
                                 "was changed since; compute the output again, or change the array after backward")
        self.read = []


@contextmanager
def no_record() -> Iterator[None]:
    """Record nothing inside, in this thread: outputs are constants."""
    before, state.recording = state.recording, False
    try:
        yield
    finally:
        state.recording = before


@contextmanager
def traced(callback: Tracer) -> Iterator[None]:
    """Call callback(primitive, inputs, params, output) after every primitive inside.

    inputs: arguments of the primitive; a Parameter or another Tensor arrives as itself, the others as arrays or None.
    """
    before, state.tracer = state.tracer, callback
    try:
        yield
    finally:
        state.tracer = before


@contextmanager
def traced_vjps(callback: VJPTracer) -> Iterator[None]:
    """Call callback(node, position, parent, g, gx) after every vjp inside, where gx = vjp(g).

    parent: the Node or leaf that is the node's input at `position`.
    """
    before, state.vjp_tracer = state.vjp_tracer, callback
    try:
        yield
    finally:
        state.vjp_tracer = before


@contextmanager
def replacing(forwards: dict[Primitive[Any], Callable[..., Any]]) -> Iterator[None]:
    """Replace the forward functions of these primitives inside."""
    before, state.replaced = state.replaced, forwards
    try:
        yield
    finally:
        state.replaced = before


def backward(tensor: Tensor, g: np.ndarray | None = None) -> None:
    """Walk back from `tensor` through the nodes behind it, in descending order of number; see Tensor.backward.

    Nodes made from a node have larger numbers, so they all come before it. The contributions to a gradient are added in
    this order, so its bits depend on the graph alone. The walk is a loop, so that the depth of the graph has no limit.
    """
    if not tensor.requires_grad:
        raise UsageError("backward: no leaf behind this tensor requires a gradient")
    root = tensor.node or tensor
    pending: dict[Any, np.ndarray] = {root: _incoming(tensor, g)}
    heap = [(-tensor.node.number, tensor.node)] if tensor.node else []
    while heap:
        _, node = heapq.heappop(heap)
        _pass(node, _hooked(node, pending.pop(node)), pending, heap)
    for leaf, gradient in pending.items():
        leaf.accumulate(_hooked(leaf, gradient))


def register_hook(tensor: Tensor, hook: Hook) -> Callable[[], None]:
    """Call hook(g) in each backward with the gradient at the tensor; see Tensor.register_hook."""
    if not tensor.requires_grad:
        raise UsageError("register_hook: the tensor requires no gradient")
    place = tensor.node or tensor
    place.hooks = (*place.hooks, hook)

    def remove() -> None:
        place.hooks = tuple(kept for kept in place.hooks if kept is not hook)

    return remove


def _hooked(place: Node | Tensor, g: np.ndarray) -> np.ndarray:
    """Return the gradient at a node or leaf as its hooks leave it."""
    for hook in place.hooks:
        replaced = hook(g)
        if replaced is not None:
            if np.shape(replaced) != g.shape:
                raise UsageError(f"a hook returned an array of {np.shape(replaced)} for a gradient of {g.shape}")
            g = np.asarray(replaced, g.dtype)
    return g


def _pass(node: Node, g: np.ndarray, pending: dict[Any, np.ndarray], heap: list[tuple[int, Node]]) -> None:
    """Send g through one node and free its vjps with the arrays that they hold."""
    edges, node.edges = node.edges, None
    if edges is None:
        raise UsageError(f"backward: the graph behind {node.primitive.name} is freed by an earlier backward; "
                         "compute the output again")
    node.check_unchanged()
    tracer = state.vjp_tracer
    for position, parent, vjp in edges:
        gx = node.primitive.gradient(vjp, g, position, parent)
        leaf = type(parent) is not Node
        if leaf and (gx is g or gx.base is not None):
            gx = gx.copy()                                  # a leaf must own its .grad; others may read this array
        if tracer:
            tracer(node, position, parent, g, gx)
        if parent in pending:
            pending[parent] = kernels.add(pending[parent], gx)
        else:
            pending[parent] = gx
            if isinstance(parent, Node):
                heapq.heappush(heap, (-parent.number, parent))


def _incoming(tensor: Tensor, g: np.ndarray | None) -> np.ndarray:
    """Return a checked copy of the gradient that a walk starts with."""
    if g is None:
        if tensor.size != 1:
            raise UsageError(f"backward: the tensor is {tensor.shape}; give its gradient, or reduce it to one number")
        return np.ones(tensor.shape, tensor.dtype)
    g = np.array(g)
    if g.shape != tensor.shape or g.dtype != tensor.dtype:
        raise UsageError(f"backward: the gradient is {g.dtype} {g.shape}, the tensor {tensor.dtype} {tensor.shape}")
    return g
