"""Where the exported C begins: at the codes of the input, or of what the network makes of each element of it first."""
import json
from dataclasses import dataclass

import numpy as np

from tinyq.errors import UsageError
from tinyq.packed.file.format import Packed
from tinyq.packed.file.graph import Constant
from tinyq.packed.float_network import FloatNetwork
from tinyq.packed.integer.numpy_executor import NumpyExecutor
from tinyq.packed.integer.program import Dequantise, Float, IntegerProgram, Quantise

# What keeps the order of the elements, and computes each one from itself and its channel's constants.
ELEMENTWISE = ("add", "sub", "mul", "relu", "tanh", "sigmoid", "batch_norm_inference", "flatten", "reshape")
PIXELS = 256


@dataclass(frozen=True)
class Entry:
    """quantise: how the first codes are made; before: the float operations in front of it; behind: all on codes."""

    quantise: Quantise
    before: tuple[str, ...]
    behind: tuple


def entry(program: IntegerProgram, packed: Packed) -> Entry:
    """UsageError where the network computes in floats anywhere but element by element at its beginning."""
    nodes, first, floats = packed.graph.nodes, {-1}, []
    for op in program.operations:
        if isinstance(op, Float):
            first.add(op.y) if _is_elementwise(nodes[op.y], first, packed.graph) else floats.append(nodes[op.y])
    starts = [op for op in program.operations if isinstance(op, Quantise) and op.x in first]
    if floats or not starts:
        names = dict.fromkeys(node.weight.name if node.weight else node.operation for node in floats or nodes)
        advice = "; pack it with float_layer_bits=8 and a calibration" * any(node.weight for node in floats)
        raise UsageError(f"C gets whole numbers only, and this network computes {', '.join(names)} in floats{advice}")
    if len(starts) > 1:
        raise UsageError("C gets one input, and this network begins with several forms of its input")
    before = tuple(nodes[op.y].operation for op in program.operations if isinstance(op, Float))
    behind = tuple(op for op in program.operations if not isinstance(op, Float | Quantise | Dequantise))
    return Entry(starts[0], before, behind)


def _is_elementwise(node, first, graph):
    values = [a for a in node.inputs if isinstance(a, int)]
    constants = [a for a in node.inputs if isinstance(a, Constant)]
    image = node.operation != "batch_norm_inference" and len(graph.input_shape) == 3
    spread = image and any(size > 1 for a in constants for size in a.shape[-2:])
    whole = all(graph.shape_of(a) == node.shape for a in values) or node.operation in ("flatten", "reshape")
    return node.operation in ELEMENTWISE and set(values) <= first and whole and not spread


def golden(program: IntegerProgram, packed: Packed, at: Entry, samples):
    """(codes of the input, codes of the result int32), a row for each of the float32 samples (n, ...)."""
    codes = _network(program, packed).codes(np.asarray(samples, np.float32))
    first, last = (codes[value].reshape(len(samples), -1) for value in (at.quantise.y, program.result))
    return first, last.astype(np.int32)


def pixel_values(packed: Packed):
    """(c, 256) float32, the network's input for each 8-bit pixel of each channel, or None where meta does not say."""
    try:
        how = json.loads(packed.meta["preprocessing"])
        mean, std = (np.array(how[name], np.float32) for name in ("mean", "std"))
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    channels = packed.graph.input_shape[0]
    if len(packed.graph.input_shape) != 3 or mean.shape != (channels,) or std.shape != (channels,):
        return None
    with np.errstate(all="ignore"):                 # as tinyq.data.transforms.normalise, operation for operation
        values = (np.arange(PIXELS, dtype=np.float32) / np.float32(255) - mean[:, None]) / std[:, None]
    return values if np.isfinite(values).all() else None


def pixel_codes(program: IntegerProgram, packed: Packed, at: Entry, pixels):
    """(c, 256) codes of 8-bit pixels; pixels: float32 (c, 256), the network's input for each."""
    channels, *plane = packed.graph.input_shape
    images = -(-PIXELS // int(np.prod(plane)))
    x = np.resize(np.asarray(pixels, np.float32).T, (images * int(np.prod(plane)), channels))
    x = x.reshape(images, -1, channels).transpose(0, 2, 1).reshape(images, channels, *plane)
    operations = program.operations[:program.operations.index(at.quantise) + 1]
    codes = _network(program, packed).codes(np.ascontiguousarray(x), operations)[at.quantise.y]
    return codes.reshape(images, channels, -1).transpose(1, 0, 2).reshape(channels, -1)[:, :PIXELS]


def _network(program, packed):
    return NumpyExecutor(program, FloatNetwork(packed, program.floats).node)
