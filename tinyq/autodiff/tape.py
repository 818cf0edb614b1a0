"""The tape: tensors, the record of what made them, and the walk back. No operation is named here."""
import heapq
import itertools
from contextlib import contextmanager

import numpy as np

from tinyq import kernels
from tinyq.errors import UsageError

recording = True                                # whether a call of a primitive leaves a node; see no_record
tracer = None                                   # called with what every primitive did; see traced
vjp_tracer = None                              # called with what every vjp did; see traced_vjps

_creation = itertools.count()


class Tensor:
    """A float32 or float64 array, and where it came from if something behind it wants a gradient.

    data: the array. grad: None, or for a leaf the sum of the gradients of every `backward` so far.
    node: None for a leaf or a constant. The operators are attached in operators.py.
    """

    __slots__ = ("data", "grad", "requires_grad", "node", "__weakref__")
    __array_ufunc__ = None                      # array + tensor is the tensor's business
    __iter__ = None                             # else Python would index it until something fails

    def __init__(self, data, requires_grad=False):
        """A leaf (requires_grad) or a constant; UsageError unless `data` is a float32 or float64 array."""
        self.data = np.asarray(data)
        if self.data.dtype not in (np.float32, np.float64):
            raise UsageError(f"Tensor: the data is {self.data.dtype}; give float32 or float64")
        self.grad, self.requires_grad, self.node = None, requires_grad, None

    @property
    def shape(self):
        """The array's shape."""
        return self.data.shape

    @property
    def dtype(self):
        """The array's dtype."""
        return self.data.dtype

    @property
    def ndim(self):
        """How many axes."""
        return self.data.ndim

    @property
    def size(self):
        """How many elements."""
        return self.data.size

    def item(self):
        """The one number in it, as a Python float."""
        return self.data.item()

    def backward(self, g=None):
        """Add to the `.grad` of every leaf behind this tensor its gradient; what was recorded is freed on the way.

        g: the gradient at this tensor, an array of its shape and dtype; may be left out if it is one number.
        """
        backward(self, g)

    def __repr__(self):
        """Shape, dtype, values and what made it."""
        origin = f", from {self.node.primitive.name}" if self.node else ", requires_grad" if self.requires_grad else ""
        return f"Tensor({self.dtype} {self.shape}{origin}: {np.array2string(self.data, threshold=20)})"


class Node:
    """One application of a primitive: enough to walk back through it, and to run its rule again.

    edges: [(position, parent, vjp)] of the inputs that want a gradient, None once passed; a parent is a Node or a
    leaf. number: the order of creation, so a parent's is always the smaller. shape, dtype: the output's.
    """

    __slots__ = ("primitive", "params", "edges", "shape", "dtype", "number", "__weakref__")

    def __init__(self, primitive, params, edges, y):
        """Record that `primitive`, called with the keywords `params`, made the array y."""
        self.primitive, self.params, self.edges = primitive, params, edges
        self.shape, self.dtype, self.number = y.shape, y.dtype, next(_creation)


@contextmanager
def no_record():
    """Inside it nothing is recorded: outputs are constants."""
    global recording
    before, recording = recording, False
    try:
        yield
    finally:
        recording = before


@contextmanager
def traced(callback):
    """Inside it callback(primitive, input arrays, params, output Tensor) is called after every primitive."""
    global tracer
    before, tracer = tracer, callback
    try:
        yield
    finally:
        tracer = before


@contextmanager
def traced_vjps(callback):
    """Inside it callback(node, position, parent, g, gx) is called after every vjp: gx is what it made of g.

    parent: the Node or leaf that is the node's input at `position`.
    """
    global vjp_tracer
    before, vjp_tracer = vjp_tracer, callback
    try:
        yield
    finally:
        vjp_tracer = before


def detach(x):
    """The same array as a constant: no gradient flows back through it."""
    return Tensor(x.data)


def backward(tensor, g=None):
    """Walk back from `tensor` through the nodes behind it, latest first; see Tensor.backward.

    A node is reached after everything made from it, since that has a larger number. The contributions to one
    gradient are added in that order, so the bits depend on the graph alone. A loop, so that depth has no limit.
    """
    root = tensor.node or tensor
    if not tensor.requires_grad:
        raise UsageError("backward: nothing behind this tensor wants a gradient")
    pending = {root: _incoming(tensor, g)}
    heap = [(-root.number, root)] if tensor.node else []
    while heap:
        _, node = heapq.heappop(heap)
        _pass(node, pending.pop(node), pending, heap)
    for leaf, gradient in pending.items():
        leaf.grad = gradient if leaf.grad is None else kernels.add(leaf.grad, gradient)


def _pass(node, g, pending, heap):
    """Send g through one node; its vjps, and with them what the rule kept, are gone when this returns."""
    edges, node.edges = node.edges, None
    if edges is None:
        raise UsageError(f"backward: the graph behind {node.primitive.name} is freed by an earlier backward; "
                         "compute the output again")
    for position, parent, vjp in edges:
        gx = node.primitive.gradient(vjp, g, position, parent)
        leaf = type(parent) is not Node
        if leaf and (gx is g or gx.base is not None):
            gx = gx.copy()                                  # a leaf owns its .grad: others may read this one
        if vjp_tracer:
            vjp_tracer(node, position, parent, g, gx)
        if parent in pending:
            pending[parent] = kernels.add(pending[parent], gx)
        else:
            pending[parent] = gx
            if not leaf:
                heapq.heappush(heap, (-parent.number, parent))


def _incoming(tensor, g):
    """The gradient that a walk starts with, checked, as an array of its own."""
    if g is None:
        if tensor.size != 1:
            raise UsageError(f"backward: the tensor is {tensor.shape}; give its gradient, or reduce it to one number")
        return np.ones(tensor.shape, tensor.dtype)
    g = np.array(g)
    if g.shape != tensor.shape or g.dtype != tensor.dtype:
        raise UsageError(f"backward: the gradient is {g.dtype} {g.shape}, the tensor {tensor.dtype} {tensor.shape}")
    return g
