"""Tell which nodes of a packed graph can run on codes."""
import numpy as np

from tinyq.packed.file.format import Packed
from tinyq.packed.file.graph import Constant, Graph, Node
from tinyq.packed.file.operations import slices

# Integer operations that pass codes on unchanged: their inputs and output share one scale.
TYING = ("relu", "clip", "max_pool2d", "flatten", "reshape", "concatenate", "getitem", "pad")
POOLING = ("max_pool2d", "avg_pool2d", "adaptive_avg_pool2d")


def runs_on_codes(packed: Packed, node: Node) -> bool:
    """Return True if a node without weights has an integer form."""
    graph, values_only = packed.graph, not any(isinstance(a, Constant) for a in node.inputs)
    if affine_of(packed, node) is not None:
        return True
    match node.operation:
        case "add":
            return values_only and len({graph.shape_of(a) for a in node.inputs}) == 1
        case "mean":
            return len(graph.shape_of(node.inputs[0])) == 3 and node.params["axes"] == [1, 2]
        case "concatenate":
            return values_only and node.params["axis"] == 0
        case "getitem":
            return all(part.step is None or part.step > 0 for part in slices(node.params))
        case operation:
            return operation in TYING or operation in POOLING


def affine_of(packed: Packed, node: Node) -> tuple[int, float, float] | None:
    """Return (value, factor, shift) of a node that is factor * value + shift with two numbers, else None."""
    constants = [a for a in node.inputs if isinstance(a, Constant)]
    values = [a for a in node.inputs if isinstance(a, int)]
    if node.operation == "neg":
        return values[0], -1.0, 0.0
    if len(values) != 1 or len(constants) != 1 or packed.graph.shape_of(values[0]) != node.shape:
        return None
    array = packed.constants[constants[0].name]
    if array.size != 1 or not np.isfinite(array).all():
        return None
    number, first = float(array.item()), node.inputs[0] == values[0]
    match node.operation:
        case "add":
            return values[0], 1.0, number
        case "sub":
            return values[0], 1.0 if first else -1.0, -number if first else number
        case "mul":
            return values[0], number, 0.0
        case "div" if first and number:
            return values[0], 1 / number, 0.0
    return None


def last_with_codes(graph: Graph, integer: set[int]) -> int:
    """Return the last integer node where all that follows reads it alone, else the result."""
    result = len(graph.nodes) - 1
    last = max(integer, default=result)
    read = {a for node in graph.nodes[last + 1:] for a in node.inputs if isinstance(a, int) and a <= last}
    return last if read <= {last} else result
