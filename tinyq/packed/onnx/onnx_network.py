"""Write a packed network as an ONNX model.

With float activations a product's factors are multiplied into its weights, or into the scales of integer weights. With
int8 activations each value that tinyq keeps as codes is rounded by QuantizeLinear, with tinyq's scale and zero point,
and read through DequantizeLinear; between them stand the float operations, which runtimes join to integer ones.
"""
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

import tinyq
from tinyq.errors import UsageError, did_you_mean
from tinyq.files.foreign import onnx_model
from tinyq.files.foreign.protobuf import Message
from tinyq.packed.file.format import Packed
from tinyq.packed.file.graph import Constant, Node
from tinyq.packed.integer.lowering import lower
from tinyq.packed.integer.program import Clip, IntegerProgram, Quant
from tinyq.packed.onnx.float_nodes import Call, write_clip, write_node
from tinyq.packed.onnx.onnx_nodes import Nodes
from tinyq.packed.onnx.product_nodes import FLOAT_WEIGHTS, WEIGHTS, write_product

INPUT, OUTPUT, BATCH = "input", "logits", "batch"
ACTIVATIONS = ("float32", "int8")
# Operator set and version of the format that each type of weights needs.
VERSIONS = {FLOAT_WEIGHTS: (18, 8), "int8": (18, 8), "int4": (21, 10), "int2": (25, 13)}


@dataclass
class OnnxNetwork:
    """A model, and the names of tensors in it: of each value's floats, and of its codes where it has some."""

    model: Message
    floats: dict[int, str] = field(default_factory=dict)
    codes: dict[int, str] = field(default_factory=dict)


def onnx_network(packed: Packed, activations: str = "float32", weights: str | None = None,
                 metadata: Mapping[str, str] | None = None) -> OnnxNetwork:
    """Return a packed network as ONNX, for a batch of any size.

    weights: one of WEIGHTS, by default float32 with float32 activations and int8 with int8 ones. metadata: goes into
    metadata_props. UsageError where the network cannot be written so.
    """
    if activations not in ACTIVATIONS:
        raise UsageError(f"activations {activations}: {did_you_mean(activations, ACTIVATIONS)}")
    weights = weights or (FLOAT_WEIGHTS if activations == "float32" else "int8")
    if weights not in WEIGHTS:
        raise UsageError(f"weights {weights}: {did_you_mean(weights, WEIGHTS)}")
    if activations != "float32" and weights == FLOAT_WEIGHTS:
        raise UsageError("weights float32: activations int8 need integers; choose from: int8, int4, int2")
    program = None if activations == "float32" else lower(packed, activations)
    return _Writer(packed, program, weights).network(metadata or {})


class _Writer:
    def __init__(self, packed: Packed, program: IntegerProgram | None, weights: str):
        self.packed, self.graph, self.program, self.weights = packed, packed.graph, program, weights
        self.nodes = Nodes()
        self.result = len(self.graph.nodes) - 1
        self.plain = {-1: INPUT}                        # names of values that were not rounded
        self.rounded: dict[int, str] = {}               # names of values read back from codes
        self.codes: dict[int, str] = {}
        taken = {INPUT, OUTPUT} | {node.weight.name for node in self.graph.products() if node.weight}
        self.names = {number: _name(number, node, taken) for number, node in enumerate(self.graph.nodes)}

    def network(self, metadata: Mapping[str, str]) -> OnnxNetwork:
        """Write all nodes."""
        on_codes = set(range(len(self.graph.nodes))) - set(self.program.floats) if self.program else set()
        for number, node in enumerate(self.graph.nodes):
            if number in on_codes:
                self._on_codes(number, node)
            else:
                name = OUTPUT if number == self.result else self.names[number]
                self._write(number, node, [self._float(a) for a in node.inputs], name)
                self.plain[number] = name
        return OnnxNetwork(self._model(metadata), {**self.plain, **self.rounded}, self.codes)

    def _on_codes(self, number: int, node: Node) -> None:
        """Write a node between codes: its value is rounded, unless its codes are those of the last product's sums."""
        assert self.program is not None
        inputs = [self._rounded(a) if isinstance(a, int) else self._float(a) for a in node.inputs]
        last, wide = number == self.result, self.program.is_wide(number)
        name = OUTPUT if last and wide else self.names[number] if wide else f"{self.names[number]}/float"
        self._write(number, node, inputs, name)
        if wide:
            self.plain[number] = self.rounded[number] = name
        else:
            self._round(number, name, OUTPUT if last else self.names[number])
            self.plain[number] = self.rounded[number]

    def _write(self, number: int, node: Node, inputs: list[str], name: str) -> None:
        call = Call(self.nodes, self.graph, node, inputs, name)
        if node.weight:
            quant = self._quant_of(node.inputs[0])
            write_product(call, self.packed.tensors[node.weight.name], self.weights, quant.scale if quant else None)
        elif node.operation == "clip" and self.program and number in self.program.quants:
            write_clip(call, *self._limits(number))
        else:
            write_node(call)

    def _quant_of(self, value: int) -> Quant | None:
        return self.program.quants.get(value) if self.program else None

    def _limits(self, number: int) -> tuple[float, float]:
        """Return what the codes stand for to which tinyq limits a value."""
        assert self.program is not None
        found = next(op for op in self.program.operations if isinstance(op, Clip) and op.y == number)
        quant = self.program.quants[number]
        return quant.scale * (found.low - quant.zero), quant.scale * (found.high - quant.zero)

    def _float(self, a: "int | Constant | None") -> str:
        """Return the name of an input; a constant is stored once."""
        if a is None:
            return ""
        if isinstance(a, int):
            return self.plain[a]
        if a.name not in self.nodes.initializers:
            self.nodes.floats(a.name, self.packed.constants[a.name])
        return a.name

    def _rounded(self, value: int) -> str:
        if value not in self.rounded:
            name = INPUT if value == -1 else self.names[value]
            self._round(value, self.plain[value], f"{name}/rounded")
        return self.rounded[value]

    def _round(self, value: int, x: str, y: str) -> None:
        """Write QuantizeLinear and DequantizeLinear with the scale and the zero point of a value's codes."""
        assert self.program is not None
        quant, name = self.program.quants[value], INPUT if value == -1 else self.names[value]
        steps = [self.nodes.floats(f"{name}.scale_of_codes", quant.scale),
                 self.nodes.constant(f"{name}.zero_point_of_codes", np.array(quant.zero, np.uint8))]
        self.codes[value] = self.nodes.add("QuantizeLinear", [x, *steps], f"{name}/codes")
        self.rounded[value] = self.nodes.add("DequantizeLinear", [self.codes[value], *steps], y)

    def _model(self, metadata: Mapping[str, str]) -> Message:
        opset, version = VERSIONS[self.weights]
        graph = {"name": "network", "node": self.nodes.nodes, "initializer": list(self.nodes.initializers.values()),
                 "input": [value_of(INPUT, self.graph.input_shape)],
                 "output": [value_of(OUTPUT, self.graph.nodes[-1].shape)]}
        return {"ir_version": version, "producer_name": "tinyq", "producer_version": tinyq.__version__, "graph": graph,
                "opset_import": [{"domain": "", "version": opset}],
                "metadata_props": [{"key": key, "value": metadata[key]} for key in sorted(metadata)]}


def value_of(name: str, shape: tuple[int, ...] | None, kind: int = onnx_model.FLOAT32) -> Message:
    """Return the ValueInfoProto of a batch of samples of this shape; None leaves the shape out."""
    dims: list[Message] = [] if shape is None else [{"dim_param": BATCH}, *({"dim_value": size} for size in shape)]
    found: Message = {"elem_type": kind} if shape is None else {"elem_type": kind, "shape": {"dim": dims}}
    return {"name": name, "type": {"tensor_type": found}}


def _name(number: int, node: Node, taken: set[str]) -> str:
    """Return the name of a node's value: the layer's, or the operation with the node's number."""
    if node.weight:
        return node.weight.name
    name = f"{node.operation}_{number}"
    while name in taken:
        name = f"{name}_"
    taken.add(name)
    return name
