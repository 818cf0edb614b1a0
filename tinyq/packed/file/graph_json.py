"""Write a graph as JSON, and read one back without trusting it: every shape is computed again and compared."""
import math
from typing import Any

from tinyq.errors import TinyqError, UsageError
from tinyq.packed.file.graph import Constant, Graph, Node, Weight
from tinyq.packed.file.operations import OPERATIONS, PRODUCT, Operation, product_shape

Json = dict[str, Any]
MAX_NODES = 10_000                      # of a graph
MAX_AXES = 8
# Numbers per sample. A few kilobytes must not ask for gigabytes, so what a network computes is limited by its input and
# by its file; VGG-16 at 224 x 224, the most generous of the known ones, has values 21 times as large as its input.
SMALL_INPUT, INPUT_PER_BYTE = 1 << 20, 64
SMALL_VALUE, VALUE_PER_NUMBER = 1 << 22, 16             # per number of the input and byte of the file
MAX_LARGE_VALUES = 32                                   # values of the largest size, in all


def to_json(graph: Graph) -> Json:
    """Return the graph as JSON."""
    return {"input_shape": list(graph.input_shape), "nodes": [_node_json(node) for node in graph.nodes]}


def _node_json(node):
    inputs = [a if a is None or isinstance(a, int) else {"constant": a.name, "shape": list(a.shape)}
              for a in node.inputs]
    weight = {"weight": {"tensor": node.weight.name, "shape": list(node.weight.shape)}} if node.weight else {}
    return {"operation": node.operation, "inputs": inputs, "params": node.params, "shape": list(node.shape), **weight}


def from_json(json: Json, file_bytes: int) -> Graph:
    """Return the graph that JSON describes, read from a file of this size; ValueError names what is inconsistent."""
    nodes: list[Node] = []
    try:
        limit = SMALL_INPUT + INPUT_PER_BYTE * file_bytes
        shape = _check_shape(json["input_shape"], limit)
        limit = _most_numbers(shape, file_bytes)
        known = {-1: shape}
        if not 0 < len(json["nodes"]) <= MAX_NODES:
            raise ValueError(f"it has {len(json['nodes'])} nodes, not 1 to {MAX_NODES}")
        for number, entry in enumerate(json["nodes"]):
            nodes.append(_node(entry, known, number, limit))
            known[number] = nodes[-1].shape
        _check_total(nodes, limit)
    except (KeyError, TypeError, IndexError, AttributeError, OverflowError, TinyqError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    graph = Graph(shape, tuple(nodes))
    _check_names(graph)
    return graph


def check_sizes(graph: Graph, file_bytes: int) -> None:
    """UsageError where a file of this size could not be read back: its values are too large."""
    try:
        _check_shape(graph.input_shape, SMALL_INPUT + INPUT_PER_BYTE * file_bytes)
        limit = _most_numbers(graph.input_shape, file_bytes)
        for node in graph.nodes:
            _check_shape(node.shape, limit)
        _check_total(graph.nodes, limit)
    except ValueError as error:
        raise UsageError(f"this network cannot be packed: {error}; pack it for a smaller input") from None


def _most_numbers(input_shape, file_bytes):
    return SMALL_VALUE + VALUE_PER_NUMBER * (math.prod(input_shape) + file_bytes)


def _check_total(nodes, limit):
    total = sum(math.prod(node.shape) for node in nodes)
    if total > MAX_LARGE_VALUES * limit:
        raise ValueError(f"{total:,} numbers per sample are too many for a file of this size")


def _check_names(graph):
    tensors = [node.weight.name for node in graph.products()]
    constants = {a for node in graph.nodes for a in node.inputs if isinstance(a, Constant)}
    if len(set(tensors)) < len(tensors) or len({a.name for a in constants}) < len(constants):
        raise ValueError("two arrays have the same name")


def _node(entry, known, number, limit):
    """Return the node that `entry` describes; known: shapes of the values before it; limit: numbers of its value."""
    inputs = tuple(_input(a, number, limit) for a in entry["inputs"])
    name, params, weight = entry["operation"], entry["params"], None
    if not isinstance(params, dict):
        raise ValueError(f"node {number} has no parameters")
    shapes = [a.sample_shape if isinstance(a, Constant) else known[a] for a in inputs if a is not None]
    if name == PRODUCT:
        weight = Weight(str(entry["weight"]["tensor"]), _check_shape(entry["weight"]["shape"], limit))
        shape = _shape_of_product(inputs, shapes, weight, params, number)
    elif name in OPERATIONS:
        _check_inputs(OPERATIONS[name], inputs, number)
        OPERATIONS[name].from_json(params)
        shape = OPERATIONS[name].shape(shapes, params)
        # Broadcasting a value with fewer axes would align its batch axis with a feature axis.
        fewer = any(isinstance(a, int) and len(s) < len(shape) for a, s in zip(inputs, shapes, strict=False))
        if OPERATIONS[name].inputs == 2 and fewer:
            raise ValueError(f"node {number} broadcasts a value that is not a constant")
    else:
        raise ValueError(f"node {number}: no operation is named {name!r}")
    if list(shape) != list(entry["shape"]):
        raise ValueError(f"node {number}: {name} makes {list(shape)}, not {entry['shape']}")
    return Node(name, inputs, params, _check_shape(shape, limit), weight)


def _shape_of_product(inputs, shapes, weight, params, number):
    if not all(isinstance(a, int) for a in inputs) or not isinstance(params["relu"], bool):
        raise ValueError(f"node {number} is not a product")
    shape = product_shape(shapes[0], weight.shape, params["options"])
    most = 1 if params["options"] is None else 2
    if len(shapes) > most or any(tuple(s) != tuple(shape) for s in shapes[1:]):
        raise ValueError(f"node {number} adds a value of another shape")
    return shape


def _check_inputs(operation: Operation, inputs, number):
    """Raise ValueError unless the operation takes this number and these kinds of inputs."""
    values = [isinstance(a, int) for a in inputs]
    if operation.inputs not in (None, len(inputs)) or not any(values):
        raise ValueError(f"node {number} has an unsuitable number of inputs, {len(inputs)}")
    if any(a is None and i not in operation.optional for i, a in enumerate(inputs)):
        raise ValueError(f"node {number} lacks an input")
    if not operation.constants and not all(values):
        raise ValueError(f"node {number} reads a constant")


def _input(a, number, limit):
    if a is None:
        return None
    if isinstance(a, dict):
        return Constant(str(a["constant"]), _check_shape(a["shape"], limit))
    if not isinstance(a, int) or isinstance(a, bool) or not -1 <= a < number:
        raise ValueError(f"node {number} reads {a!r}, which is not an earlier value")
    return a


def _check_shape(sizes, limit):
    """Return the shape as a tuple; ValueError unless its sizes are positive integers, of at most `limit` numbers."""
    shape = tuple(sizes)
    count = 1
    for size in shape:
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ValueError(f"shape {list(shape)} has a size that is not a positive whole number")
        count *= size
    if len(shape) > MAX_AXES:
        raise ValueError(f"shape {list(shape)} has more than {MAX_AXES} axes")
    if count > limit:
        raise ValueError(f"shape {list(shape)} is too large for a file of this size")
    return shape
