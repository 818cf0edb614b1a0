"""Read the nodes of an ONNX graph that move elements: reshapes, slices, padding and concatenations."""
import math

import numpy as np

from tinyq.files.foreign.protobuf import Malformed
from tinyq.saved.graphs.graph_reader import GraphReader
from tinyq.saved.graphs.model_structure import sliced
from tinyq.saved.graphs.structure import Operation


def shape_of(reader: GraphReader) -> np.ndarray:
    """Return the shape of a value, 0 for the size of the batch, which a Reshape takes over."""
    whole = np.array([0, *reader.structure.shape_of(reader.value(0))], np.int64)
    return whole[slice(reader.attributes.get("start", 0), reader.attributes.get("end"))]


def reshape(reader: GraphReader) -> int:
    """Another shape of each sample."""
    x, name = reader.value(0), reader.node["op_type"]
    shape = reader.structure.shape_of(x)
    if name == "Flatten":
        if reader.attributes.get("axis", 1) != 1:
            raise Malformed("its Flatten touches the batch axis")
        return reader.structure.reshape(x, (math.prod(shape),))
    if name == "Squeeze":
        axes = {axis % (len(shape) + 1) for axis in reader.integers(1, "axes")}
        if any(axis == 0 or shape[axis - 1] != 1 for axis in axes):
            raise Malformed("its Squeeze removes an axis that is none")
        return reader.structure.reshape(x, tuple(n for k, n in enumerate(shape, 1) if k not in axes))
    sizes = reader.integers(1, "shape")
    wanted = [([0, *shape][k] if k <= len(shape) else 0) if size == 0 else size for k, size in enumerate(sizes)]
    rest, whole = wanted[1:], math.prod(shape)
    known = math.prod(size for size in rest if size > 0)
    rest = [whole // max(1, known) if size == -1 else size for size in rest]
    if not rest or sizes.count(-1) > 2 or min(rest) < 1 or math.prod(rest) != whole:
        raise Malformed(f"its Reshape to {sizes} touches the batch axis, or does not fit {list(shape)}")
    return reader.structure.reshape(x, tuple(rest))


def concatenate(reader: GraphReader) -> int:
    """Values side by side."""
    numbers = [reader.value(k) for k in range(len(reader.node["input"]))]
    shapes = [reader.structure.shape_of(number) for number in numbers]
    axis = reader.attributes.get("axis", 0)
    axis = axis % (len(shapes[0]) + 1) - 1
    others = {shape[:axis] + shape[axis + 1:] for shape in shapes}
    if axis < 0 or len(others) != 1 or len({len(shape) for shape in shapes}) != 1:
        raise Malformed("its Concat is of the batch axis, or of shapes that do not fit")
    size = sum(shape[axis] for shape in shapes)
    shape = (*shapes[0][:axis], size, *shapes[0][axis + 1:])
    return reader.structure.add(Operation("concatenate", tuple(numbers), shape, (axis,)))


def slice_axes(reader: GraphReader) -> int:
    """Every so many elements of axes; slices of several axes one after the other are one."""
    x = reader.value(0)
    shape = reader.structure.shape_of(x)
    starts, ends = reader.integers(1, "starts"), reader.integers(2, "ends")
    has_axes = len(reader.node["input"]) > 3 and reader.node["input"][3] or "axes" in reader.attributes
    axes = reader.integers(3, "axes") if has_axes else list(range(len(starts)))
    steps = reader.integers(4) if len(reader.node["input"]) > 4 and reader.node["input"][4] else [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise Malformed("its Slice does not fit")
    index = [slice(None)] * (len(shape) + 1)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        size = [1 << 62, *shape][axis % (len(shape) + 1)]
        index[axis % (len(shape) + 1)] = slice(start, None if step < 0 and end < -size else end, step)
    if index[0] not in (slice(None), slice(0, (1 << 63) - 1, 1), slice(0, (1 << 31) - 1, 1)):
        raise Malformed("its Slice touches the batch axis")
    params = sliced(tuple(index), shape)
    if params == tuple((0, size, 1) for size in shape):
        return x
    before = reader.structure.operations[x] if x >= 0 else None
    if before and before.kind == "getitem":
        whole = tuple((0, size, 1) for size in before.shape)
        if all(own == all_ or other[2] == 1 and other[0] == 0 and other[1] == size for own, all_, other, size in
               zip(params, whole, before.params, reader.structure.shape_of(before.inputs[0]), strict=True)):
            params = tuple(other if own == all_ else own
                           for own, all_, other in zip(params, whole, before.params, strict=True))
            x, = before.inputs
    return reader.structure.add(Operation("getitem", (x,), tuple(n for _, n, _ in params), params))


def pad(reader: GraphReader) -> int:
    """Zeros around a value."""
    x = reader.value(0)
    shape = reader.structure.shape_of(x)
    widths, value = reader.integers(1, "pads"), reader.constant(2, "value")
    if reader.attributes.get("mode", "constant") != "constant" or value is not None and value.any():
        raise Malformed("its Pad does not pad with zeros")
    rank = len(shape) + 1
    if len(reader.node["input"]) > 3 and reader.node["input"][3]:
        axes, given = [axis % rank for axis in reader.integers(3)], widths
        widths = [0] * (2 * rank)
        for k, axis in enumerate(axes):
            widths[axis], widths[rank + axis] = given[k], given[len(axes) + k]
    if len(widths) != 2 * rank or widths[0] or widths[rank] or min(widths) < 0:
        raise Malformed("its Pad does not fit, or touches the batch axis")
    pairs = tuple(zip(widths[1:rank], widths[rank + 1:], strict=True))
    padded = tuple(size + before + after for size, (before, after) in zip(shape, pairs, strict=True))
    return x if padded == shape else reader.structure.add(Operation("pad", (x,), padded, pairs))
