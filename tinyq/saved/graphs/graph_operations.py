"""Read each kind of node of an ONNX graph that tinyq's networks have."""
from collections.abc import Callable, Mapping

import numpy as np

from tinyq.files.foreign.protobuf import Malformed
from tinyq.saved.graphs.graph_moves import concatenate, pad, reshape, slice_axes
from tinyq.saved.graphs.graph_reader import GraphReader
from tinyq.saved.graphs.graph_windows import pool_windows, pooled, window_params
from tinyq.saved.graphs.structure import CONV, LINEAR, NORM, Operation, affine_of, channel_values

COPIES = ("Identity", "Dropout", "Cast")
UNARY = {"Relu": "relu", "Tanh": "tanh", "Sigmoid": "sigmoid", "Exp": "exp", "Log": "log", "Neg": "neg", "Abs": "abs",
         "Sqrt": "sqrt"}
BINARY = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Max": "maximum"}


def copy(reader: GraphReader) -> int:
    """Pass a value on."""
    return reader.value(0)


def unary(reader: GraphReader) -> int:
    """A function of each element."""
    x = reader.value(0)
    return reader.structure.add(Operation(UNARY[reader.node["op_type"]], (x,), reader.structure.shape_of(x)))


def binary(reader: GraphReader) -> int:
    """Two values, or a value and numbers of its channels; behind a product without a bias these are one."""
    kind, inputs = BINARY[reader.node["op_type"]], reader.node["input"]
    if len(inputs) != 2:
        raise Malformed(f"its {reader.node['op_type']} has {len(inputs)} inputs, not 2")
    constants = [reader.is_constant(name) for name in inputs]
    if not any(constants):
        x, y = reader.value(0), reader.value(1)
        if reader.structure.shape_of(x) != reader.structure.shape_of(y):
            raise Malformed(f"its {reader.node['op_type']} is of values of different shapes")
        return reader.structure.add(Operation(kind, (x, y), reader.structure.shape_of(x)))
    first = constants[1]
    x, constant = reader.value(0 if first else 1), reader.needed(1 if first else 0)
    shape = reader.structure.shape_of(x)
    values = channel_values(constant, shape)
    if constant.ndim == 1 and constant.size > 1 and len(shape) > 1:     # it varies along the last axis
        values = None
    pair = None if values is None else affine_of(kind, values, first)
    if values is None or pair is None:
        raise Malformed(f"its {reader.node['op_type']} of a constant is of none of tinyq's networks")
    before = reader.structure.operations[x] if x >= 0 else None
    if kind == "add" and before and before.kind in (CONV, LINEAR) and "bias" not in before.arrays and (
            len(values) == before.shape[0]):
        before.arrays["bias"] = values
        return x
    return reader.structure.affine(x, *pair)


def convolution(reader: GraphReader) -> int:
    """A convolution with constant weights."""
    x, w, bias = reader.value(0), reader.needed(1), reader.constant(2)
    shape = reader.structure.shape_of(x)
    if w.ndim != 4 or len(shape) != 3 or 0 in w.shape:
        raise Malformed("its Conv is not of planes")
    stride, pads, dilation = window_params(reader.attributes, shape, list(w.shape[2:]))
    groups = int(reader.attributes.get("group", 1))
    if groups < 1 or w.shape[1] * groups != shape[0] or w.shape[0] % groups:
        raise Malformed(f"its Conv of {shape[0]} channels has weights {w.shape} in {groups} groups")
    size = pooled(shape[1:], list(w.shape[2:]), stride, pads, dilation, False)
    arrays = {"weight": w} | ({} if bias is None else {"bias": bias.reshape(-1)})
    params = tuple(stride), tuple(pads), tuple(dilation), groups
    return reader.structure.add(Operation(CONV, (x,), (len(w), *size), params, arrays))


def gemm(reader: GraphReader) -> int:
    """A matrix product with a bias."""
    a = reader.attributes
    if a.get("transA", 0) or a.get("alpha", 1.0) != 1 or a.get("beta", 1.0) != 1:
        raise Malformed("its Gemm scales or transposes its input")
    w, bias = reader.needed(1), reader.constant(2)
    return _linear(reader, w if a.get("transB", 0) else w.T, bias)


def matmul(reader: GraphReader) -> int:
    """A matrix product without a bias."""
    return _linear(reader, reader.needed(1).T, None)


def _linear(reader: GraphReader, w: np.ndarray, bias: np.ndarray | None) -> int:
    x = reader.value(0)
    if w.ndim != 2 or reader.structure.shape_of(x) != (w.shape[1],) or (bias is not None and bias.size != len(w)):
        raise Malformed(f"its product of {reader.structure.shape_of(x)} with {w.shape} does not fit")
    arrays = {"weight": w} | ({} if bias is None else {"bias": bias.reshape(-1)})
    return reader.structure.add(Operation(LINEAR, (x,), (len(w),), (), arrays))


def batch_norm(reader: GraphReader) -> int:
    """Batch norm in evaluation."""
    x = reader.value(0)
    shape = reader.structure.shape_of(x)
    # Before operator set 14 more outputs than one mean training.
    if reader.attributes.get("training_mode", 0) or any(reader.node["output"][1:]):
        raise Malformed("its BatchNormalization is of training; export the network in evaluation, after model.eval()")
    arrays = {role: reader.needed(k) for k, role in enumerate(("weight", "bias", "mean", "variance"), 1)}
    if any(a.shape != shape[:1] for a in arrays.values()):
        raise Malformed("its BatchNormalization is of another number of channels")
    arrays["epsilon"] = np.asarray(reader.attributes.get("epsilon", np.float32(1e-5)), np.float64)
    return reader.structure.add(Operation(NORM, (x,), shape, (), arrays))


def clip(reader: GraphReader) -> int:
    """Limits; from 0 up it is a ReLU."""
    x, low, high = reader.value(0), reader.constant(1, "min"), reader.constant(2, "max")
    limits = [None if limit is None or not np.isfinite(limit).all() else float(limit.reshape(-1)[0])
              for limit in (low, high)]
    shape = reader.structure.shape_of(x)
    if limits == [0.0, None]:
        return reader.structure.add(Operation("relu", (x,), shape))
    return reader.structure.add(Operation("clip", (x,), shape, tuple(limits)))


def pool(reader: GraphReader) -> int:
    """The largest or mean of each window."""
    kind = "max" if reader.node["op_type"] == "MaxPool" else "average"
    x = reader.value(0)
    shape = reader.structure.shape_of(x)
    return reader.structure.pool(kind, x, pool_windows(reader.attributes, shape, kind == "average", reader.limit))


def plane_mean(reader: GraphReader) -> int:
    """The mean of whole planes."""
    x = reader.value(0)
    shape = reader.structure.shape_of(x)
    if reader.node["op_type"] == "ReduceMean":
        axes = sorted(axis % (len(shape) + 1) for axis in reader.integers(1, "axes"))
        if axes != [2, 3] or len(shape) != 3:
            raise Malformed("its ReduceMean is not of whole planes")
    if len(shape) != 3:
        raise Malformed("its pooling is not of planes")
    whole = {"kernel_shape": list(shape[1:])}
    y = reader.structure.pool("average", x, pool_windows(whole, shape, True, reader.limit))
    keeps = reader.node["op_type"] != "ReduceMean" or reader.attributes.get("keepdims", 1)
    return y if keeps else reader.structure.reshape(y, shape[:1])


READERS: Mapping[str, Callable[[GraphReader], int]] = {
    **dict.fromkeys(COPIES, copy), **dict.fromkeys(UNARY, unary), **dict.fromkeys(BINARY, binary),
    "Conv": convolution, "Gemm": gemm, "MatMul": matmul,
    "BatchNormalization": batch_norm, "Clip": clip, "MaxPool": pool, "AveragePool": pool,
    "GlobalAveragePool": plane_mean, "ReduceMean": plane_mean, "Flatten": reshape,
    "Reshape": reshape, "Squeeze": reshape, "Concat": concatenate, "Slice": slice_axes,
    "Pad": pad}
