"""The network as data: the steps of its one evaluation (tinyq.inference), free of the batch's size."""
from dataclasses import dataclass

import numpy as np

from tinyq.errors import TinyqError, UsageError
from tinyq.packed.file.operations import OPERATIONS, PRODUCT, conv_json, product_shape

MAX_STEPS, MAX_NUMBERS = 10_000, 1 << 28          # of a graph; of one sample anywhere in it


@dataclass(frozen=True)
class Weight:
    """Where a product finds its weights, by the name of its tensor, and their shape."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Constant:
    """An array of the file, by its name, and its shape."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Node:
    """One step: of the input (-1), earlier nodes (their numbers) and constants. shape: of a sample's output."""

    operation: str
    inputs: tuple
    params: dict                        # JSON, as the operation has it; for a product: options (or None) and relu
    shape: tuple[int, ...]
    weight: Weight | None = None        # of a product; what is added to it is its second input


@dataclass(frozen=True)
class Graph:
    """Nodes in order; the last is the result."""

    input_shape: tuple[int, ...]
    nodes: tuple[Node, ...]

    def shape_of(self, number: int) -> tuple[int, ...]:
        """Of a sample: the input's for -1."""
        return self.input_shape if number == -1 else self.nodes[number].shape

    def products(self):
        """The nodes that have weights."""
        return [node for node in self.nodes if node.weight]


def record_graph(model, input_shape, names):
    """(Graph, {weight name: (w, scale, shift)}, {constant name: array}) of a network in evaluation mode.

    names: function of a weight array, the names its tensor may have. UsageError where the network does something a
    packed file cannot hold.
    """
    from tinyq.inference.fuse import fuse
    from tinyq.inference.record import record

    recorded = []
    for n in (2, 3):                                    # what depends on the batch's size shows
        steps, result = record(model, np.zeros((n, *input_shape), np.float32))
        if not steps:
            raise UsageError("the network's output does not depend on its input")
        recorded.append(_Builder(input_shape, names).build(fuse(steps, result, (n, *input_shape)), result))
    (graph, weights, constants), (other, _, others) = recorded
    same = graph == other and all(np.array_equal(constants[name], others[name], equal_nan=True) for name in constants)
    if not same:
        raise UsageError("what the network does depends on the size of the batch")
    return graph, weights, constants


class _Builder:
    def __init__(self, input_shape, names):
        self.input_shape, self.names = tuple(input_shape), names
        self.nodes, self.weights, self.constants, self.numbers = [], {}, {}, {-1: -1}

    def build(self, steps, result):
        for i, step in enumerate(steps):
            if step:
                self.nodes.append(self._product(step) if step.name == PRODUCT else self._other(step))
                self.numbers[i] = len(self.nodes) - 1
        if self.numbers.get(result.step) != len(self.nodes) - 1:
            raise UsageError("the network's output is not what it computes last")
        return Graph(self.input_shape, tuple(self.nodes)), self.weights, self.constants

    def _product(self, step):
        x, w, scale, shift, *added = step.inputs
        free = (name for name in self.names(w) if name not in self.weights)     # a weight may be used twice
        weight = Weight(next(free, f"product{len(self.weights)}"), w.shape)
        self.weights[weight.name] = w, scale, shift
        options = step.params["options"]
        params = {"options": None if options is None else conv_json(options), "relu": step.params["relu"]}
        inputs = (self._input(x), *map(self._input, added))
        return Node(PRODUCT, inputs, params, tuple(step.shape[1:]), weight)

    def _other(self, step):
        if step.name not in OPERATIONS:
            raise UsageError(f"the network computes {step.name}, which a packed file cannot hold")
        inputs = tuple(map(self._input, step.inputs))
        try:
            params = OPERATIONS[step.name].to_json(step.params, step.shape)
            shape = OPERATIONS[step.name].shape([self._shape(a) for a in inputs if a is not None], params)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise UsageError(f"the network's {step.name} is of a kind a packed file cannot hold ({error})") from error
        if tuple(shape) != tuple(step.shape[1:]):
            raise UsageError(f"the network's {step.name} depends on the size of the batch")
        return Node(step.name, inputs, params, tuple(shape))

    def _input(self, a):
        if a is None:
            return None
        if not isinstance(a, np.ndarray):
            return self.numbers[a.step]
        constant = Constant(f"constant{len(self.constants)}", a.shape)
        self.constants[constant.name] = a
        return constant

    def _shape(self, a):
        if isinstance(a, Constant):
            return _stretched(a)
        return self.input_shape if a == -1 else self.nodes[a].shape


def to_json(graph: Graph) -> dict:
    """The graph as JSON holds it."""
    return {"input_shape": list(graph.input_shape), "nodes": [_node_json(node) for node in graph.nodes]}


def _node_json(node):
    inputs = [a if a is None or isinstance(a, int) else {"constant": a.name, "shape": list(a.shape)}
              for a in node.inputs]
    weight = {"weight": {"tensor": node.weight.name, "shape": list(node.weight.shape)}} if node.weight else {}
    return {"operation": node.operation, "inputs": inputs, "params": node.params, "shape": list(node.shape), **weight}


def from_json(json) -> Graph:
    """The graph that JSON describes; ValueError says what does not fit."""
    try:
        shape, nodes = _shape(json["input_shape"]), []
        if not 0 < len(json["nodes"]) <= MAX_STEPS:
            raise ValueError(f"{len(json['nodes'])} nodes")
        for number, held in enumerate(json["nodes"]):
            nodes.append(_node(held, shape, nodes, number))
    except (KeyError, TypeError, IndexError, AttributeError, OverflowError, TinyqError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    graph = Graph(shape, tuple(nodes))
    _refuse_shared_names(graph)
    return graph


def _refuse_shared_names(graph):
    tensors = [node.weight.name for node in graph.products()]
    constants = {a for node in graph.nodes for a in node.inputs if isinstance(a, Constant)}
    if len(set(tensors)) < len(tensors) or len({a.name for a in constants}) < len(constants):
        raise ValueError("two arrays have one name")


def _node(held, input_shape, nodes, number):
    inputs = tuple(_input(a, number) for a in held["inputs"])
    shapes = [_stretched(a) if isinstance(a, Constant) else input_shape if a == -1 else nodes[a].shape
              for a in inputs if a is not None]
    name, params, weight = held["operation"], held["params"], None
    if not isinstance(params, dict):
        raise ValueError(f"node {number} has no parameters")
    if name == PRODUCT:
        weight = Weight(str(held["weight"]["tensor"]), _shape(held["weight"]["shape"]))
        if not all(isinstance(a, int) for a in inputs) or not isinstance(params["relu"], bool):
            raise ValueError(f"node {number} is no product")
        shape = product_shape(shapes[0], weight.shape, params["options"])
        most = 1 if params["options"] is None else 2
        if len(shapes) > most or any(tuple(s) != tuple(shape) for s in shapes[1:]):
            raise ValueError(f"node {number} adds what does not fit")
    elif name in OPERATIONS:
        _refuse_other_inputs(OPERATIONS[name], inputs, number)
        OPERATIONS[name].from_json(params)
        shape = OPERATIONS[name].shape(shapes, params)
        # A value of fewer axes would have the batch's where the other has its first.
        fewer = any(isinstance(a, int) and len(s) < len(shape) for a, s in zip(inputs, shapes, strict=False))
        if name in ("add", "sub", "mul") and fewer:
            raise ValueError(f"node {number} stretches what is no constant")
    else:
        raise ValueError(f"node {number}: no operation is named {name!r}")
    if list(shape) != list(held["shape"]):
        raise ValueError(f"node {number}: {name} makes {list(shape)}, not {held['shape']}")
    return Node(name, inputs, params, _shape(shape), weight)


def _refuse_other_inputs(operation, inputs, number):
    """ValueError unless their number and kinds are the operation's."""
    values = [isinstance(a, int) for a in inputs]
    if operation.inputs not in (None, len(inputs)) or not any(values):
        raise ValueError(f"node {number} has {len(inputs)} inputs")
    if any(a is None and i not in operation.optional for i, a in enumerate(inputs)):
        raise ValueError(f"node {number} lacks an input")
    if not operation.constants and not all(values):
        raise ValueError(f"node {number} reads a constant")


def _input(a, number):
    if a is None:
        return None
    if isinstance(a, dict):
        return Constant(str(a["constant"]), _shape(a["shape"]))
    if not isinstance(a, int) or isinstance(a, bool) or not -1 <= a < number:
        raise ValueError(f"node {number} reads {a!r}")
    return a


def _stretched(constant):
    """A constant's shape beside a sample's: a batch axis of 1 is none."""
    shape = constant.shape
    return shape[1:] if len(shape) > 1 and shape[0] == 1 else shape


def _shape(sizes):
    shape = tuple(sizes)
    count = 1
    for size in shape:
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ValueError(f"shape {list(shape)}")
        count *= size
    if count > MAX_NUMBERS or len(shape) > 8:
        raise ValueError(f"shape {list(shape)} is larger than any sample's")
    return shape
