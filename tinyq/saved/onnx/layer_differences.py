"""Compare two computations of a network layer by layer, and show where they part."""
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tinyq.files.foreign import onnx_model
from tinyq.files.foreign.protobuf import Message
from tinyq.packed.file.format import Packed
from tinyq.packed.float_network import FloatNetwork
from tinyq.packed.integer.lowering import lower
from tinyq.packed.integer.numpy_executor import NumpyExecutor
from tinyq.packed.integer.program import Quant
from tinyq.packed.onnx.onnx_network import OnnxNetwork, value_of
from tinyq.saved.onnx.onnx_runtime import Session

HEADER = ["layer", "shape", "largest value", "largest difference", "relative", "codes that differ", "by at most"]


@dataclass(frozen=True)
class LayerDifference:
    """The values of one layer: their shape per sample and largest magnitude, and how far both computations part.

    codes_apart: share of the codes that differ; most_codes: the largest difference of a code. None for floats.
    """

    layer: str
    shape: tuple[int, ...]
    largest: float
    difference: float
    codes_apart: float | None = None
    most_codes: int | None = None

    @property
    def relative(self) -> float:
        """Largest difference, divided by the largest magnitude."""
        return self.difference / self.largest if self.largest else self.difference

    def row(self) -> list[str]:
        """Return the cells below HEADER."""
        codes = ["", ""] if self.codes_apart is None else [f"{self.codes_apart:.3%}", str(self.most_codes)]
        return [self.layer, "x".join(map(str, self.shape)), f"{self.largest:.3g}", f"{self.difference:.3g}",
                f"{self.relative:.2g}", *codes]


def float_and_int8(packed: Packed, x: np.ndarray) -> list[LayerDifference]:
    """Compare float32 activations with int8 ones, for a batch; NotCalibrated where there are no ranges."""
    program = lower(packed, "int8")
    floats = FloatNetwork(packed)
    codes, others = NumpyExecutor(program, FloatNetwork(packed, program.floats).node).values(x)
    found = []
    for number, array in floats.values(x):
        quant = program.quants.get(number)
        own = _decoded(codes[number], quant) if quant and number in codes else others[number]
        if number >= 0 or number in codes:
            found.append(_difference(_label(packed, number), array, own))
    return found


def tinyq_and_runtime(packed: Packed, network: OnnxNetwork, activations: str, x: np.ndarray) -> list[LayerDifference]:
    """Compare tinyq with ONNX Runtime for a batch, in codes where both have some."""
    session = Session(onnx_model.encode_model(_showing_all(network)))
    names = {number: name for number, name in network.floats.items() if number >= 0}
    theirs = session.outputs(x, [*names.values(), *network.codes.values()])
    if activations == "float32":
        return [_difference(_label(packed, number), array, theirs[names[number]])
                for number, array in FloatNetwork(packed).values(x) if number >= 0]
    program = lower(packed, activations)
    codes, floats = NumpyExecutor(program, FloatNetwork(packed, program.floats).node).values(x)
    found = []
    for number in sorted({*names, *network.codes}):
        quant, label = program.quants.get(number), _label(packed, number)
        if quant and number in network.codes:
            found.append(_of_codes(label, codes[number], theirs[network.codes[number]], quant))
        elif number in names:
            ours = floats[number] if number in floats else _decoded(codes[number], program.quants[number])
            found.append(_difference(label, ours, theirs[names[number]]))
    return found


def rows(differences: Iterable[LayerDifference]) -> list[list[str]]:
    """Return the rows below HEADER."""
    return [each.row() for each in differences]


def _showing_all(network: OnnxNetwork) -> Message:
    """Return the model with the values of all layers among its outputs."""
    graph = network.model["graph"]
    own = {value["name"] for value in graph["output"]}
    more = [value_of(name, None) for number, name in network.floats.items() if number >= 0 and name not in own]
    more += [value_of(name, None, onnx_model.UINT8) for name in network.codes.values()]
    return network.model | {"graph": graph | {"output": [*graph["output"], *more]}}


def _difference(layer: str, ours: np.ndarray, theirs: np.ndarray) -> LayerDifference:
    apart = np.abs(ours.astype(np.float64) - theirs)
    return LayerDifference(layer, ours.shape[1:], float(np.abs(ours).max()), float(apart.max()))


def _of_codes(layer: str, ours: np.ndarray, theirs: np.ndarray, quant: Quant) -> LayerDifference:
    apart = np.abs(ours.astype(np.int64) - theirs.astype(np.int64))
    largest = float(np.abs(_decoded(ours, quant)).max())
    return LayerDifference(layer, ours.shape[1:], largest, float(apart.max() * quant.scale), float((apart > 0).mean()),
                           int(apart.max()))


def _decoded(codes: np.ndarray, quant: Quant) -> np.ndarray:
    return (codes.astype(np.float64) - quant.zero) * quant.scale


def _label(packed: Packed, number: int) -> str:
    """Name a value: by its layer, or its operation with the node's number."""
    if number == -1:
        return "input"
    node = packed.graph.nodes[number]
    return node.weight.name if node.weight else f"{node.operation} {number}"
