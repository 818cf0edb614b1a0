"""Compute the nodes of an ONNX graph whose inputs are all constants: exporters leave small sums about shapes behind."""
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinyq.files.foreign.onnx_model import array_of
from tinyq.files.foreign.protobuf import Malformed, Message

Arrays = Sequence[np.ndarray | None]
MAX_SMALL = 1 << 12                     # elements of what is computed about shapes
# Raised by attributes and inputs of types or sizes that a node cannot have.
UNFIT = (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError, MemoryError, StopIteration)


def attributes_of(node: Message) -> dict[str, Any]:
    """Return a node's attributes by name: numbers, lists, texts or tensors."""
    found: dict[str, Any] = {}
    for each in node["attribute"]:
        kind = each["type"] or next((k for k, key in _KINDS.items() if each[key] is not None and np.size(each[key])), 2)
        if kind in _KINDS:                                  # another, such as a graph, is left out
            value = each[_KINDS[kind]]
            found[each["name"] or ""] = (0 if kind == 2 else 0.0 if kind == 1 else "") if value is None else value
    return found


_KINDS = {1: "f", 2: "i", 3: "s", 4: "t", 6: "floats", 7: "ints"}      # AttributeProto.AttributeType


def is_computed(operation: str) -> bool:
    """Return whether a node of this kind is computed where all its inputs are constants."""
    return operation in _COMPUTED


def compute(operation: str, attributes: Mapping[str, Any], inputs: Arrays) -> np.ndarray:
    """Return the output of a node; Malformed where its inputs do not fit it."""
    try:
        with np.errstate(all="ignore"):
            return np.asarray(_COMPUTED[operation](attributes, inputs))
    except UNFIT as error:
        raise Malformed(f"its {operation} of constants does not fit its inputs") from error


def _constant(attributes, inputs):
    if attributes.get("value"):
        return array_of(attributes["value"])
    name = next(name for name in ("value_float", "value_int", "value_floats", "value_ints") if name in attributes)
    return np.asarray(attributes[name], np.float32 if "float" in name else np.int64)


def _of_shape(attributes, inputs):
    shape = [int(size) for size in inputs[0]]
    _check_small(math.prod(shape))
    held = attributes.get("value")
    return np.full(shape, array_of(held).reshape(-1)[0] if held else np.float32(0))


def _cast(attributes, inputs):
    return inputs[0].astype({1: np.float32, 6: np.int32, 7: np.int64, 9: bool, 10: np.float32, 11: np.float32}[
        attributes["to"]])


def _dequantized(attributes, inputs):
    levels, scale, zero = (*inputs, None)[:3]
    axis = attributes.get("axis", 1) if scale.ndim else None
    along = [1] * levels.ndim
    if axis is not None and scale.size > 1:
        along[axis] = scale.size
        if levels.shape[axis] != scale.size:
            raise ValueError("there are not as many scales as rows")
    if zero is not None and zero.size not in (1, scale.size):
        raise ValueError("there are not as many zero points as scales")
    zero = 0 if zero is None else zero.astype(np.float32).reshape(along if zero.size > 1 else ())
    return ((levels.astype(np.float32) - zero) * scale.reshape(along if scale.size > 1 else ())).astype(np.float32)


def _reshaped(attributes, inputs):
    sizes = [int(inputs[0].shape[k]) if size == 0 and not attributes.get("allowzero") else int(size)
             for k, size in enumerate(inputs[1])]
    return inputs[0].reshape(sizes)


def _axes(attributes, inputs):
    return tuple(int(axis) for axis in (inputs[1] if len(inputs) > 1 else attributes["axes"]))


def _squeezed(attributes, inputs):
    """Remove axes of size 1: the named ones, or all."""
    named = len(inputs) > 1 and inputs[1] is not None or "axes" in attributes
    return np.squeeze(inputs[0], _axes(attributes, inputs) if named else None)


def _sliced(attributes, inputs):
    starts, ends = (inputs[1], inputs[2]) if len(inputs) > 2 else (attributes["starts"], attributes["ends"])
    axes = inputs[3] if len(inputs) > 3 and inputs[3] is not None else attributes.get("axes", range(len(starts)))
    steps = inputs[4] if len(inputs) > 4 else [1] * len(starts)
    index = [slice(None)] * inputs[0].ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        index[int(axis)] = slice(int(start), None if step < 0 and end < -inputs[0].shape[int(axis)] else int(end),
                                 int(step))
    return inputs[0][tuple(index)]


def _gathered(attributes, inputs):
    axis = attributes.get("axis", 0)
    _check_small(inputs[1].size * max(1, inputs[0].size // max(1, inputs[0].shape[axis])))
    return np.take(inputs[0], inputs[1].astype(np.int64), axis)


def _small(function: Callable) -> Callable:
    def compute_small(attributes, inputs):
        _check_small(math.prod(np.broadcast_shapes(*(a.shape for a in inputs))))
        return function(*inputs)

    return compute_small


def _product(attributes, inputs):
    if np.broadcast_shapes(*(a.shape for a in inputs)) != max((a.shape for a in inputs), key=math.prod):
        raise ValueError("the product is larger than both of its factors")
    return inputs[0] * inputs[1]


def _joined(attributes, inputs):
    return np.concatenate(inputs, attributes["axis"])


def _check_small(size: int) -> None:
    if size > MAX_SMALL:
        raise ValueError(f"{size} elements are too many")


_COMPUTED: dict[str, Callable[[Mapping[str, Any], Any], Any]] = {
    "Constant": _constant, "ConstantOfShape": _of_shape, "Cast": _cast, "Identity": lambda a, x: x[0],
    "DequantizeLinear": _dequantized, "Reshape": _reshaped, "Concat": _joined, "Slice": _sliced, "Gather": _gathered,
    "Shape": lambda a, x: np.array(x[0].shape, np.int64)[a.get("start", 0):a.get("end")],
    "Transpose": lambda a, x: x[0].transpose([int(n) for n in a["perm"]] if "perm" in a else None),
    "Unsqueeze": lambda a, x: np.expand_dims(x[0], _axes(a, x)), "Squeeze": _squeezed,
    "Mul": _product, "Add": _small(np.add), "Sub": _small(np.subtract),
    "Div": _small(lambda x, y: x // y if x.dtype.kind == "i" and np.all(y) else x / y)}
