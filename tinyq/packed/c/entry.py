"""Find where the exported C begins: after float operations that compute each input element on its own."""
from dataclasses import dataclass

import numpy as np

from tinyq.errors import UsageError
from tinyq.inputs.preparation import Preparation, parse
from tinyq.packed.file.format import Packed
from tinyq.packed.file.graph import Constant, Node
from tinyq.packed.float_network import FloatNetwork
from tinyq.packed.integer.numpy_executor import NumpyExecutor
from tinyq.packed.integer.program import CodeOperation, Dequantise, Float, IntegerProgram, Quantise

# Operations that keep the order of the elements and compute each from itself and its channel's constants.
ELEMENTWISE = ("add", "sub", "mul", "div", "maximum", "relu", "clip", "tanh", "sigmoid", "exp", "log", "neg", "abs",
               "sqrt", "power", "batch_norm_inference", "flatten", "reshape")
PIXELS = 256


class FloatLayers(UsageError):
    """A network with float layers, which C cannot run."""


@dataclass(frozen=True)
class Entry:
    """Operations before and after the first codes.

    quantise: makes the first codes. before: names of the float operations before it. behind: operations after it, all
    on codes. after: names of the float operations at the end, such as a softmax, which C leaves to its caller.
    """

    quantise: Quantise
    before: tuple[str, ...]
    behind: tuple[CodeOperation, ...]
    after: tuple[str, ...]


def find_entry(program: IntegerProgram, packed: Packed) -> Entry:
    """Split the program at its first codes.

    UsageError if it computes in floats except elementwise at its beginning and without weights at its end; FloatLayers,
    a UsageError, if some of its layers with weights compute in floats.
    """
    nodes = packed.graph.nodes
    first: set[int] = {-1}
    floats: list[Node] = []
    after: list[Node] = []
    for op in program.operations:
        if isinstance(op, Float):
            if _is_elementwise(nodes[op.y], first, packed.graph):
                first.add(op.y)
            else:
                (after if op.y > program.end and not nodes[op.y].weight else floats).append(nodes[op.y])
    starts = [op for op in program.operations if isinstance(op, Quantise) and op.x in first]
    if floats or not starts:
        names = dict.fromkeys(node.label for node in floats or nodes)
        raise (FloatLayers if any(node.weight for node in floats) else UsageError)(
            f"C export needs an all-integer network, and this one computes {', '.join(names)} in floats")
    if len(starts) > 1:
        raise UsageError("C export needs one quantised input, and this network quantises its input in several ways")
    before = tuple(nodes[op.y].operation for op in program.operations if isinstance(op, Float) and op.y in first)
    behind = tuple(op for op in program.operations if not isinstance(op, Float | Quantise | Dequantise))
    return Entry(starts[0], before, behind, tuple(node.operation for node in after))


def _is_elementwise(node, first, graph):
    values = [a for a in node.inputs if isinstance(a, int)]
    constants = [a for a in node.inputs if isinstance(a, Constant)]
    image = node.operation != "batch_norm_inference" and len(graph.input_shape) == 3
    varies_in_plane = image and any(size > 1 for a in constants for size in a.shape[-2:])
    same_shape = all(graph.shape_of(a) == node.shape for a in values) or node.operation in ("flatten", "reshape")
    return node.operation in ELEMENTWISE and set(values) <= first and same_shape and not varies_in_plane


def expected_codes(program: IntegerProgram, packed: Packed, entry: Entry,
                   samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (codes of the input, codes of the last value int32), a row per float32 sample (n, ...)."""
    codes = _executor(program, packed).codes(np.asarray(samples, np.float32))
    first, last = (codes[value].reshape(len(samples), -1) for value in (entry.quantise.y, program.end))
    return first, last.astype(np.int32)


def preparation_of(packed: Packed) -> Preparation | None:
    """Return how raw samples become the network's input; None where meta does not tell."""
    try:
        return parse(packed.meta["preprocessing"], packed.graph.input_shape)
    except (KeyError, ValueError):
        return None


def pixel_values(packed: Packed) -> np.ndarray | None:
    """Return (c, 256) float32, the network's input per 8-bit pixel and channel; None where its inputs are no pixels."""
    shape, preparation = packed.graph.input_shape, preparation_of(packed)
    if len(shape) != 3 or preparation is None or not preparation.brightest:
        return None
    pixels = np.arange(PIXELS, dtype=np.uint8)
    with np.errstate(all="ignore"):
        values = preparation.of_pixels(np.broadcast_to(pixels, (1, shape[0], 1, PIXELS)))[0, :, 0]
    return values if np.isfinite(values).all() else None


def pixel_codes(program: IntegerProgram, packed: Packed, entry: Entry, pixels: np.ndarray) -> np.ndarray:
    """Return (c, 256) codes of 8-bit pixels; pixels: float32 (c, 256), the network's input for each."""
    channels, *plane = packed.graph.input_shape
    images = -(-PIXELS // int(np.prod(plane)))
    x = np.resize(np.asarray(pixels, np.float32).T, (images * int(np.prod(plane)), channels))
    x = x.reshape(images, -1, channels).transpose(0, 2, 1).reshape(images, channels, *plane)
    operations = program.operations[:program.operations.index(entry.quantise) + 1]
    codes = _executor(program, packed).codes(np.ascontiguousarray(x), operations)[entry.quantise.y]
    return codes.reshape(images, channels, -1).transpose(1, 0, 2).reshape(channels, -1)[:, :PIXELS]


def _executor(program, packed):
    return NumpyExecutor(program, FloatNetwork(packed, program.floats).node)
