"""The messages of an .onnx file, its tensors as arrays, and checks that a file keeps to its own bytes.

A file is data: nothing in it is run. Tensors that lie in other files are refused. Graphs within nodes, functions and
training information are not read.
"""
import math
from pathlib import Path

import numpy as np

from tinyq.errors import BadInput
from tinyq.files.foreign.protobuf import (
    BYTES,
    DOUBLE,
    FLOAT,
    INTEGER,
    TEXT,
    Field,
    Malformed,
    Message,
    Table,
    decode,
    encode,
)
from tinyq.files.read import read_file

MAX_BYTES = (1 << 31) - 1              # of a file without others beside it: the limit of protocol buffers
MAX_AXES = 8
EXTERNAL = 1
TENSOR: Table = {
    "dims": Field(1, INTEGER, many=True), "data_type": Field(2, INTEGER), "float_data": Field(4, FLOAT, many=True),
    "int32_data": Field(5, INTEGER, many=True), "int64_data": Field(7, INTEGER, many=True), "name": Field(8, TEXT),
    "raw_data": Field(9, BYTES), "double_data": Field(10, DOUBLE, many=True),
    "external_data": Field(13, BYTES, many=True), "data_location": Field(14, INTEGER)}
ATTRIBUTE: Table = {
    "name": Field(1, TEXT), "f": Field(2, FLOAT), "i": Field(3, INTEGER), "s": Field(4, TEXT), "t": Field(5, TENSOR),
    "floats": Field(7, FLOAT, many=True), "ints": Field(8, INTEGER, many=True), "type": Field(20, INTEGER)}
NODE: Table = {
    "input": Field(1, TEXT, many=True), "output": Field(2, TEXT, many=True), "name": Field(3, TEXT),
    "op_type": Field(4, TEXT), "attribute": Field(5, ATTRIBUTE, many=True), "domain": Field(7, TEXT)}
DIMENSION: Table = {"dim_value": Field(1, INTEGER), "dim_param": Field(2, TEXT)}
SHAPE: Table = {"dim": Field(1, DIMENSION, many=True)}
TENSOR_TYPE: Table = {"elem_type": Field(1, INTEGER), "shape": Field(2, SHAPE)}
TYPE: Table = {"tensor_type": Field(1, TENSOR_TYPE)}
VALUE: Table = {"name": Field(1, TEXT), "type": Field(2, TYPE)}
GRAPH: Table = {
    "node": Field(1, NODE, many=True), "name": Field(2, TEXT), "initializer": Field(5, TENSOR, many=True),
    "input": Field(11, VALUE, many=True), "output": Field(12, VALUE, many=True),
    "value_info": Field(13, VALUE, many=True)}
PROPERTY: Table = {"key": Field(1, TEXT), "value": Field(2, TEXT)}
OPSET: Table = {"domain": Field(1, TEXT), "version": Field(2, INTEGER)}
MODEL: Table = {
    "ir_version": Field(1, INTEGER), "producer_name": Field(2, TEXT), "producer_version": Field(3, TEXT),
    "doc_string": Field(6, TEXT), "graph": Field(7, GRAPH), "opset_import": Field(8, OPSET, many=True),
    "metadata_props": Field(14, PROPERTY, many=True)}

FLOAT32, UINT8, INT8, INT32, INT64, INT4, INT2 = 1, 2, 3, 6, 7, 22, 26          # TensorProto.DataType
BFLOAT16 = 16
_DTYPES = {FLOAT32: "<f4", UINT8: "|u1", INT8: "|i1", 5: "<i2", INT32: "<i4", INT64: "<i8", 9: "|b1", 10: "<f2",
           11: "<f8", BFLOAT16: "<u2"}
_SMALL = {INT4: 4, INT2: 2}             # bits of signed types of less than a byte, the first in the lowest bits
_NUMBERS = {FLOAT32: "float_data", INT64: "int64_data", 11: "double_data"}      # of the others: int32_data


def read_model(path: str | Path) -> Message:
    """Return the ModelProto of a file; BadInput where it is none."""
    data = read_file(path, MAX_BYTES)
    try:
        model = decode(data, MODEL)
    except Malformed as error:
        raise BadInput(f"{path}: not readable as ONNX: {error}") from error
    if model["graph"] is None or not model["graph"]["node"]:
        raise BadInput(f"{path}: not readable as ONNX: it has no graph")
    return model


def encode_model(model: Message) -> bytes:
    """Return the bytes of a ModelProto; equal models give equal bytes."""
    return encode(model, MODEL)


def metadata_of(model: Message) -> dict[str, str]:
    """Return metadata_props, texts by key."""
    return {each["key"] or "": each["value"] or "" for each in model["metadata_props"]}


def tensor(name: str, array: np.ndarray, kind: int | None = None) -> Message:
    """Return the TensorProto of an array. kind: INT4 or INT2, for small integers; by default that of the dtype."""
    dims, array = list(np.shape(array)), np.ascontiguousarray(array)
    if kind in _SMALL:
        return {"dims": dims, "data_type": kind, "name": name, "raw_data": _packed(array, _SMALL[kind])}
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    kind = next(kind for kind, dtype in _DTYPES.items() if dtype == little.dtype.str)
    return {"dims": dims, "data_type": kind, "name": name, "raw_data": little.tobytes()}


def array_of(held: Message) -> np.ndarray:
    """Return a TensorProto's array: floats as float32, others in their own types.

    Malformed unless its bytes are as many as its shape needs, and lie in the file itself.
    """
    name, kind = held["name"] or "", held["data_type"]
    if held["data_location"] == EXTERNAL or held["external_data"]:
        raise Malformed(f"the tensor {name!r} lies in another file; save the network in one file")
    shape = [int(size) for size in held["dims"]]
    if len(shape) > MAX_AXES or any(size < 0 for size in shape):
        raise Malformed(f"the tensor {name!r} has the shape {shape[:MAX_AXES + 1]}")
    if kind not in _DTYPES and kind not in _SMALL:
        raise Malformed(f"the tensor {name!r} has the data type {kind}, which is not supported")
    count, raw = math.prod(shape), held["raw_data"]
    values = _numbers(held, kind) if raw is None else _raw(raw, kind, count)
    if values is None or len(values) != count:
        raise Malformed(f"the tensor {name!r} has not as many bytes as its shape {shape} needs")
    return _usual(values, kind).reshape(shape)


def _raw(raw, kind, count):
    """Return the elements of raw bytes, or None where they are too few or too many."""
    if kind in _SMALL:
        bits = _SMALL[kind]
        return _unpacked(np.frombuffer(raw, np.uint8), bits)[:count] if len(raw) == -(-count * bits // 8) else None
    dtype = np.dtype(_DTYPES[kind])
    return np.frombuffer(raw, dtype) if len(raw) == count * dtype.itemsize else None


def _numbers(held, kind):
    """Return the elements of a tensor whose numbers are fields."""
    numbers = held[_NUMBERS.get(kind, "int32_data")]
    if kind in _SMALL:
        return _unpacked(numbers.astype(np.uint8), _SMALL[kind])[:math.prod(map(int, held["dims"]))]
    if kind in (10, BFLOAT16):                                      # the bits of halves
        return numbers.astype(np.uint16).view(_DTYPES[kind])
    return numbers.astype(_DTYPES[kind])


def _usual(values, kind):
    if kind == BFLOAT16:
        return (values.astype(np.uint32) << 16).view(np.float32)    # the upper half of a float32
    with np.errstate(over="ignore"):                                # large float64: infinity, which callers reject
        return values.astype(np.float32) if values.dtype.kind == "f" else values


def _packed(array, bits):
    codes = (array.reshape(-1).astype(np.int64) & (1 << bits) - 1).astype(np.uint8)
    per_byte = 8 // bits
    codes = np.concatenate([codes, np.zeros(-len(codes) % per_byte, np.uint8)]).reshape(-1, per_byte)
    return (codes << (bits * np.arange(per_byte)).astype(np.uint8)).sum(axis=1, dtype=np.uint8).tobytes()


def _unpacked(data, bits):
    codes = (data[:, None] >> (bits * np.arange(8 // bits)).astype(np.uint8) & np.uint8((1 << bits) - 1)).reshape(-1)
    return ((codes.astype(np.int8) ^ (1 << bits - 1)) - (1 << bits - 1)).astype(np.int8)
