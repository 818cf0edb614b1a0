"""Write the operations of a packed network other than its products as ONNX nodes on float values."""
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tinyq.errors import UsageError
from tinyq.packed.file.graph import Constant, Graph, Node
from tinyq.packed.file.operations import slices
from tinyq.packed.onnx.onnx_nodes import Nodes
from tinyq.packed.onnx.pool_nodes import adaptive_average_pool, average_pool, max_pool

SMALLEST = -(1 << 31)                   # end of a slice that goes down to the first element


@dataclass(frozen=True)
class Call:
    """One node to write: the names of its inputs ("" for one that is left out) and of its output."""

    nodes: Nodes
    graph: Graph
    node: Node
    inputs: Sequence[str]
    output: str

    @property
    def before(self) -> tuple[int, ...]:
        """Shape of the first input per sample."""
        first = self.node.inputs[0]
        return first.sample_shape if isinstance(first, Constant) else self.graph.shape_of(first)


def write_node(call: Call) -> None:
    """Append the ONNX nodes of an operation."""
    if call.node.operation in _PLAIN:
        call.nodes.add(_PLAIN[call.node.operation], call.inputs, call.output)
    else:
        _WRITERS[call.node.operation](call)


def write_clip(call: Call, low: float | None, high: float | None) -> None:
    """Append a Clip; a limit of None is infinite."""
    limits = [call.nodes.floats(f"{call.output}.{name}", limit) if limit is not None else ""
              for name, limit in (("low", low), ("high", high))]
    call.nodes.add("Clip", [call.inputs[0], *limits], call.output)


def _clip(call: Call) -> None:
    write_clip(call, call.node.params["low"], call.node.params["high"])


def _power(call: Call) -> None:
    exponent = float(call.node.params["exponent"])
    if exponent == 0.5:
        call.nodes.add("Sqrt", call.inputs, call.output)
    else:
        call.nodes.add("Pow", [call.inputs[0], call.nodes.floats(f"{call.output}.exponent", exponent)], call.output)


def _batch_norm(call: Call) -> None:
    if not all(a is None or isinstance(a, Constant) for a in call.node.inputs[1:]):
        raise UsageError(f"{call.output}: a batch norm whose statistics depend on the input cannot be written as ONNX")
    channels, arrays = call.before[0], []
    for name, given, usual in zip(("weight", "bias", "mean", "variance"), call.inputs[1:], (1, 0, 0, 1), strict=True):
        shape = call.nodes.initializers[given]["dims"] if given else []
        if not shape:                                               # left out, or one number for all channels
            number = np.frombuffer(call.nodes.initializers[given]["raw_data"], "<f4")[0] if given else usual
            given = call.nodes.floats(f"{call.output}.{name}", np.full(channels, number))
        arrays.append(given)
    call.nodes.add("BatchNormalization", [call.inputs[0], *arrays], call.output,
                   epsilon=float(call.node.params["eps"]))


def _reduction(operation: str) -> Callable[[Call], None]:
    def write(call: Call) -> None:
        axes = call.nodes.integers(f"{call.output}.axes", [axis + 1 for axis in call.node.params["axes"]])
        call.nodes.add(operation, [call.inputs[0], axes], call.output, keepdims=int(call.node.params["keepdims"]))

    return write


def _pooling(write_pool: Callable) -> Callable[[Call], None]:
    return lambda call: write_pool(call.nodes, call.inputs[0], call.output, call.node.params, call.before,
                                   call.node.shape)


def _flatten(call: Call) -> None:
    call.nodes.add("Flatten", call.inputs, call.output, axis=1)


def _reshape(call: Call) -> None:
    shape = call.nodes.integers(f"{call.output}.shape", [-1, *call.node.params["shape"]])
    call.nodes.add("Reshape", [call.inputs[0], shape], call.output)


def _concatenate(call: Call) -> None:
    call.nodes.add("Concat", call.inputs, call.output, axis=call.node.params["axis"] + 1)


def _getitem(call: Call) -> None:
    parts = [part.indices(size) for part, size in zip(slices(call.node.params), call.before, strict=False)]
    columns = list(zip(*parts, strict=True)) or [(), (), ()]
    ends = [SMALLEST if end < 0 else end for end in columns[1]]
    axes = range(1, 1 + len(parts))
    names = [call.nodes.integers(f"{call.output}.{name}", values) for name, values in (
        ("starts", columns[0]), ("ends", ends), ("axes", list(axes)), ("steps", columns[2]))]
    call.nodes.add("Slice", [call.inputs[0], *names], call.output)


def _pad(call: Call) -> None:
    widths = call.node.params["widths"]
    pads = [0, *(before for before, _ in widths), 0, *(after for _, after in widths)]
    call.nodes.add("Pad", [call.inputs[0], call.nodes.integers(f"{call.output}.pads", pads)], call.output)


_PLAIN = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "exp": "Exp", "log": "Log", "neg": "Neg", "abs": "Abs",
          "sqrt": "Sqrt", "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "maximum": "Max"}
_WRITERS: dict[str, Callable[[Call], None]] = {
    "sum": _reduction("ReduceSum"), "mean": _reduction("ReduceMean"), "max": _reduction("ReduceMax"), "clip": _clip,
    "power": _power, "batch_norm_inference": _batch_norm, "max_pool2d": _pooling(max_pool),
    "avg_pool2d": _pooling(average_pool), "adaptive_avg_pool2d": _pooling(adaptive_average_pool), "flatten": _flatten,
    "reshape": _reshape, "concatenate": _concatenate, "getitem": _getitem, "pad": _pad}
