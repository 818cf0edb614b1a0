"""Write a product of a packed network as ONNX: a Conv or a Gemm, of float weights or of integers that are scaled."""
from dataclasses import dataclass

import numpy as np

from tinyq.errors import UsageError
from tinyq.files.foreign.onnx_model import INT2, INT4, INT8
from tinyq.packed.file.tensor import FLOAT, EncodedTensor
from tinyq.packed.integer.level_units import integer_levels_of, unit_of
from tinyq.packed.onnx.float_nodes import Call

FLOAT_WEIGHTS = "float32"
# Types of integer weights, the narrowest first: (name, ONNX's data type, least, largest value).
INTEGERS = (("int2", INT2, -2, 1), ("int4", INT4, -8, 7), ("int8", INT8, -128, 127))
WEIGHTS = (FLOAT_WEIGHTS, *(name for name, *_ in INTEGERS))
# x86 processors without VNNI add products of codes and signed weights in pairs of 16 bits, which larger levels overflow
# in ONNX Runtime; unsigned weights have other kernels there.
MAX_PAIRED, MIDDLE = 64, 128
MAX_BIAS = (1 << 31) - 1                # in steps of a product, where a runtime rounds the bias to int32


@dataclass(frozen=True)
class Scaled:
    """Weights as scale * level per row, with a scale above zero."""

    levels: np.ndarray                  # int8, (rows, ...)
    scale: np.ndarray                   # (rows,) float32


def write_product(call: Call, tensor: EncodedTensor, weights: str, step: float | None = None) -> None:
    """Append the nodes of a product, of the value added to it and of its ReLU.

    weights: one of WEIGHTS; of integers the narrowest type from the named one on is taken. step: of the codes of its
    input, where a runtime may compute on them.
    """
    nodes, node, name = call.nodes, call.node, node_name(call)
    relu, added = node.params["relu"], call.inputs[1:]
    scaled = None if weights == FLOAT_WEIGHTS else _scaled(tensor, step)
    w = (_float_weights(call, tensor, name) if scaled is None
         else _integer_weights(call, scaled, weights, name, step is not None))
    bias = nodes.floats(f"{name}.bias", tensor.affine[1])
    target = f"{call.output}/product" if added or relu else call.output
    options = node.params["options"]
    if options is None:
        nodes.add("Gemm", [call.inputs[0], w, bias], target, transB=1)
    else:
        nodes.add("Conv", [call.inputs[0], w, bias], target, kernel_shape=tensor.shape[2:], strides=options["stride"],
                  pads=[*options["padding"], *options["padding"]], dilations=options["dilation"],
                  group=int(options["groups"]))
    if added:
        target = nodes.add("Add", [target, added[0]], f"{call.output}/sum" if relu else call.output)
    if relu:
        nodes.add("Relu", [target], call.output)


def node_name(call: Call) -> str:
    """Return the name of a product's layer."""
    return call.node.product_weight.name


def _float_weights(call: Call, tensor: EncodedTensor, name: str) -> str:
    """Store the weights with the factors of their rows."""
    factors = tensor.affine[0].astype(np.float64).reshape(-1, *[1] * (len(tensor.shape) - 1))
    return call.nodes.floats(f"{name}.weight", tensor.unscaled() * factors)


def _integer_weights(call: Call, scaled: Scaled, weights: str, name: str, codes: bool) -> str:
    """Store the levels as integers, and scale them in the graph. codes: the input is rounded to codes."""
    levels: np.ndarray = scaled.levels
    zeros: np.ndarray = np.zeros(len(levels), np.int8)
    kind = _narrowest(levels, weights)
    if np.abs(levels.astype(np.int64)).max() > MAX_PAIRED:
        levels, zeros = (levels.astype(np.int64) + MIDDLE).astype(np.uint8), np.full(len(levels), MIDDLE, np.uint8)
    stored = call.nodes.constant(f"{name}.levels", levels, kind)
    scale = call.nodes.floats(f"{name}.scale", scaled.scale)
    zero = call.nodes.constant(f"{name}.zero_point", zeros, kind)
    if kind == INT2 and codes:              # which ONNX Runtime would join to a product that it cannot compute
        one = call.nodes.floats(f"{name}.one", np.ones(len(zeros)))
        levels_as_floats = call.nodes.add("DequantizeLinear", [stored, one, zero], f"{name}.levels_as_floats", axis=0)
        rows = call.nodes.floats(f"{name}.scale", scaled.scale.reshape(-1, *[1] * (levels.ndim - 1)))
        return call.nodes.add("Mul", [levels_as_floats, rows], f"{name}.weight")
    return call.nodes.add("DequantizeLinear", [stored, scale, zero], f"{name}.weight", axis=0)


def _narrowest(levels: np.ndarray, weights: str) -> int | None:
    """Return the data type of at least `weights` that holds the levels; None for int8, the array's own."""
    least, most = int(levels.min()), int(levels.max())
    names = [name for name, *_ in INTEGERS]
    for _, kind, low, high in INTEGERS[names.index(weights):]:
        if low <= least and most <= high:
            return None if kind == INT8 else kind
    raise AssertionError(weights)


def _scaled(tensor: EncodedTensor, step: float | None) -> Scaled | None:
    """Return the weights as integers; None where they are float."""
    if tensor.scheme == FLOAT:
        return None
    unit = unit_of(tensor)
    if unit is None:
        raise UsageError("weights: levels that are not k * 2^n with whole k up to 127 cannot be integers; take float32")
    levels, factors = integer_levels_of(tensor, unit), tensor.affine[0].astype(np.float64) * unit
    rows = (-1, *[1] * (levels.ndim - 1))
    levels = np.where(factors < 0, -1, 1).reshape(rows).astype(np.int8) * levels
    scale = np.abs(factors).astype(np.float32)
    none = scale == 0                                   # such a row is its bias alone
    if step is not None:
        none |= np.abs(tensor.affine[1].astype(np.float64)) > MAX_BIAS * step * scale.astype(np.float64)
    levels[none] = 0
    return Scaled(levels, np.where(none, np.float32(1), scale))
