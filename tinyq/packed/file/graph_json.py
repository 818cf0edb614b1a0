"""Write a graph as JSON, and read one back without trusting it: every shape is computed again and compared."""
from typing import Any

from tinyq.errors import TinyqError
from tinyq.packed.file.graph import Constant, Graph, Node, Weight
from tinyq.packed.file.operations import OPERATIONS, PRODUCT, Operation, product_shape

Json = dict[str, Any]
MAX_NODES = 10_000                      # of a graph
MAX_NUMBERS = 1 << 28                   # elements of any value per sample
MAX_AXES = 8


def to_json(graph: Graph) -> Json:
    """Return the graph as JSON."""
    return {"input_shape": list(graph.input_shape), "nodes": [_node_json(node) for node in graph.nodes]}


def _node_json(node):
    inputs = [a if a is None or isinstance(a, int) else {"constant": a.name, "shape": list(a.shape)}
              for a in node.inputs]
    weight = {"weight": {"tensor": node.weight.name, "shape": list(node.weight.shape)}} if node.weight else {}
    return {"operation": node.operation, "inputs": inputs, "params": node.params, "shape": list(node.shape), **weight}


def from_json(json: Json) -> Graph:
    """Return the graph that JSON describes; ValueError names what is inconsistent."""
    nodes: list[Node] = []
    try:
        shape = _check_shape(json["input_shape"])
        known = {-1: shape}
        if not 0 < len(json["nodes"]) <= MAX_NODES:
            raise ValueError(f"{len(json['nodes'])} nodes")
        for number, entry in enumerate(json["nodes"]):
            nodes.append(_node(entry, known, number))
            known[number] = nodes[-1].shape
    except (KeyError, TypeError, IndexError, AttributeError, OverflowError, TinyqError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    graph = Graph(shape, tuple(nodes))
    _check_names(graph)
    return graph


def _check_names(graph):
    tensors = [node.weight.name for node in graph.products()]
    constants = {a for node in graph.nodes for a in node.inputs if isinstance(a, Constant)}
    if len(set(tensors)) < len(tensors) or len({a.name for a in constants}) < len(constants):
        raise ValueError("two arrays have the same name")


def _node(entry, known, number):
    """Return the node that `entry` describes; known: shapes of the values before it."""
    inputs = tuple(_input(a, number) for a in entry["inputs"])
    name, params, weight = entry["operation"], entry["params"], None
    if not isinstance(params, dict):
        raise ValueError(f"node {number} has no parameters")
    shapes = [a.sample_shape if isinstance(a, Constant) else known[a] for a in inputs if a is not None]
    if name == PRODUCT:
        weight = Weight(str(entry["weight"]["tensor"]), _check_shape(entry["weight"]["shape"]))
        shape = _shape_of_product(inputs, shapes, weight, params, number)
    elif name in OPERATIONS:
        _check_inputs(OPERATIONS[name], inputs, number)
        OPERATIONS[name].from_json(params)
        shape = OPERATIONS[name].shape(shapes, params)
        # Broadcasting a value with fewer axes would align its batch axis with a feature axis.
        fewer = any(isinstance(a, int) and len(s) < len(shape) for a, s in zip(inputs, shapes, strict=False))
        if name in ("add", "sub", "mul") and fewer:
            raise ValueError(f"node {number} broadcasts a value that is not a constant")
    else:
        raise ValueError(f"node {number}: no operation is named {name!r}")
    if list(shape) != list(entry["shape"]):
        raise ValueError(f"node {number}: {name} makes {list(shape)}, not {entry['shape']}")
    return Node(name, inputs, params, _check_shape(shape), weight)


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
        raise ValueError(f"node {number} has {len(inputs)} inputs")
    if any(a is None and i not in operation.optional for i, a in enumerate(inputs)):
        raise ValueError(f"node {number} lacks an input")
    if not operation.constants and not all(values):
        raise ValueError(f"node {number} reads a constant")


def _input(a, number):
    if a is None:
        return None
    if isinstance(a, dict):
        return Constant(str(a["constant"]), _check_shape(a["shape"]))
    if not isinstance(a, int) or isinstance(a, bool) or not -1 <= a < number:
        raise ValueError(f"node {number} reads {a!r}")
    return a


def _check_shape(sizes):
    """Return the shape as a tuple; ValueError unless its sizes are positive integers within the limits."""
    shape = tuple(sizes)
    count = 1
    for size in shape:
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ValueError(f"shape {list(shape)}")
        count *= size
    if count > MAX_NUMBERS or len(shape) > MAX_AXES:
        raise ValueError(f"shape {list(shape)} is larger than any sample's")
    return shape
