"""Read and write .safetensors files: a length, a JSON header of names, types, shapes and offsets, then the bytes."""
import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tinyq.errors import BadInput
from tinyq.files.atomic import write_bytes
from tinyq.files.read import read_file

TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2",
         "I8": "<i1", "U8": "<u1", "BOOL": "?"}
NAMES = {"<f4": "F32", "<i8": "I64"}
MAX_HEADER = 100_000_000               # the format's own limit, in bytes
METADATA = "__metadata__"
ALIGNMENT = 8


def read(path: str | Path) -> dict[str, np.ndarray]:
    """Return {name: array}, floats as float32, integers as int64; BadInput where the file breaks the format."""
    data = read_file(path)
    try:
        return _read(data)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}: not readable as safetensors: {error}") from error


def write(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Save {name: float32 or int64 array} atomically, in order of names; equal arrays give equal bytes."""
    header: dict[str, dict] = {}
    parts: list[bytes] = []
    end = 0
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        parts.append(little.tobytes())
        header[name] = {"dtype": NAMES[little.dtype.str], "shape": list(np.shape(arrays[name])),
                        "data_offsets": [end, end + len(parts[-1])]}
        end += len(parts[-1])
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    write_bytes(path, b"".join([struct.pack("<Q", len(text)), text, *parts]))


def _read(data):
    if len(data) < 8:
        raise ValueError("it ends too early")
    length = struct.unpack("<Q", data[:8])[0]
    if length > min(MAX_HEADER, len(data) - 8):
        raise ValueError("its header is longer than the file, or than the format allows")
    header = json.loads(data[8:8 + length].decode(), object_pairs_hook=_without_repeats)
    if type(header) is not dict:
        raise ValueError("its header is not a JSON object")
    header.pop(METADATA, None)
    body, spans = memoryview(data)[8 + length:], sorted(_span(name, entry) for name, entry in header.items())
    ends = [0, *(end for _, end, _ in spans)]
    if [begin for begin, _, _ in spans] != ends[:-1] or ends[-1] != len(body):
        raise ValueError("its tensors overlap, or leave gaps, or do not end with the file")
    return {name: _array(header[name], body[begin:end]) for begin, end, name in spans}


def _without_repeats(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _span(name, entry):
    """Return (begin, end, name); ValueError unless dtype, shape and offsets agree."""
    if type(entry) is not dict or set(entry) != {"dtype", "shape", "data_offsets"} or entry["dtype"] not in TYPES:
        raise ValueError(f"{name}: its description breaks the format, or its dtype is not one of weights")
    shape, offsets = entry["shape"], entry["data_offsets"]
    for numbers in (shape, offsets):
        if type(numbers) is not list or not all(type(n) is int and 0 <= n < 1 << 48 for n in numbers):
            raise ValueError(f"{name}: its shape or offsets are not whole numbers")
    if len(offsets) != 2 or len(shape) > 8:
        raise ValueError(f"{name}: has {len(offsets)} offsets (must be 2) and {len(shape)} axes (at most 8)")
    begin, end = offsets
    needed = math.prod(shape) * np.dtype(TYPES[entry["dtype"]]).itemsize
    if end - begin != needed:
        raise ValueError(f"{name}: has {end - begin} bytes, but its shape and dtype need {needed}")
    return begin, end, name


def _array(entry, data):
    values = np.frombuffer(data, TYPES[entry["dtype"]])
    if entry["dtype"] == "BF16":                                # the upper half of a float32
        values = (values.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):                            # large float64: infinity, which callers reject
        return values.astype(np.float32 if values.dtype.kind == "f" else np.int64).reshape(entry["shape"])
