"""Read weights that PyTorch saved (.pth, .pt), in its zip format and in the older one, without PyTorch.

The structure is a pickle, read by the interpreter in pickles.py; tensors are views of storages, whose bytes follow
separately. Only state_dicts are supported. Sizes are checked against the file before any allocation.
"""
import io
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyq.errors import BadInput
from tinyq.files.pickles import Interpreter, Unreadable
from tinyq.files.read import read_file

BFLOAT16 = "bfloat16"                   # NumPy does not have it
STORAGES = {"FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "BFloat16Storage": BFLOAT16,
            "LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "<i1",
            "ByteStorage": "<u1", "BoolStorage": "?"}
LEGACY_MAGIC, LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
WRAPPERS = ("state_dict", "model_state_dict", "model")
MAX_VIEWS = 4                          # bytes of all tensors per byte of the file, at most


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: str
    count: int

    @property
    def bytes(self):
        return self.count * _width(self.dtype)


@dataclass(frozen=True)
class _View:
    """A tensor: elements of a storage, from an offset, by strides."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def size(self):
        return math.prod(self.shape)


def read(path: str | Path) -> dict[str, np.ndarray]:
    """Return {name: array} of a state_dict, possibly under "state_dict" or "model", without a common "module." prefix.

    float32, float64, float16 and bfloat16 become float32, integers int64. BadInput where the file is broken or of
    another kind.
    """
    data = read_file(path)
    try:
        found, storages = _zip(data) if data[:4] == b"PK\x03\x04" else _legacy(data)
        views = _state_dict(found)
        if sum(view.size * _width(view.storage.dtype) for view in views.values()) > MAX_VIEWS * len(data):
            raise Unreadable("its tensors are larger than the file")
        return {name: _array(view, storages) for name, view in views.items()}
    except Exception as error:                  # zipfile raises anything on hostile bytes
        raise BadInput(f"{path}: not readable as PyTorch weights: {error}") from error


def _zip(data):
    """Return (the unpickled object, {storage: its bytes})."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {info.filename: info for info in archive.infolist()}
        folders = [name[:-len("data.pkl")] for name in members if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(members) != len(archive.infolist()) or len(folders) != 1:
            raise Unreadable("the archive must hold one folder with one data.pkl, and no name twice")
        size = len(data)

        def member(name):
            info = members.get(folders[0] + name)
            if info is None:
                raise Unreadable(f"{name} is missing")
            if info.compress_type != zipfile.ZIP_STORED or info.file_size > size:
                raise Unreadable(f"{name} is compressed, or larger than the file")
            return archive.read(info)

        if folders[0] + "byteorder" in members and member("byteorder") != b"little":
            raise Unreadable("its numbers are not little-endian")
        found = Interpreter(member("data.pkl"), _FUNCTIONS, _storage).load()
        if sum(storage.bytes for storage in _storages(found)) > size:
            raise Unreadable("its storages are larger than the file")
        kept = {storage: _exactly(member(f"data/{storage.key}"), storage.bytes) for storage in _storages(found)}
    return found, kept


def _legacy(data):
    """Return the same as _zip for the older format.

    It has pickles of a number, a version, the system and the object, then the storages.
    """
    machine = Interpreter(data, _FUNCTIONS, _storage)
    if machine.load() != LEGACY_MAGIC or machine.load() != LEGACY_PROTOCOL:
        raise Unreadable("its first bytes are not those of such a file")
    system = machine.load()
    if type(system) is not dict or system.get("little_endian") is not True:
        raise Unreadable("its numbers are not little-endian")
    found, keys = machine.load(), machine.load()
    by_key = {storage.key: storage for storage in _storages(found)}
    if type(keys) is not list or not all(type(key) is str and key in by_key for key in keys):
        raise Unreadable("its list of storages does not match its tensors")
    kept: dict[_Storage, bytes] = {}
    for key in keys:
        storage = by_key[key]
        if machine._number("q") != storage.count:
            raise Unreadable(f"the size of storage {key} does not match its tensors")
        kept[storage] = bytes(machine._take(storage.bytes))
    return found, kept


def _state_dict(found):
    """Return {name: _View} without the wrapper and the prefix that data-parallel training adds to every name."""
    if type(found) is dict and not any(isinstance(value, _View) for value in found.values()):
        found = next((found[key] for key in WRAPPERS if type(found.get(key)) is dict), found)
    if type(found) is not dict or not found:
        raise Unreadable("it holds no state_dict (save model.state_dict())")
    strange = [key for key, value in found.items() if type(key) is not str or not isinstance(value, _View)]
    if strange:
        raise Unreadable(f"{strange[0]!r} is not a tensor; save model.state_dict() alone")
    if all(name.startswith("module.") for name in found):
        return {name.removeprefix("module."): view for name, view in found.items()}
    return found


def _storages(found):
    """List the storages of all tensors in nested dicts, lists and tuples, each once."""
    kept: dict[_Storage, None] = {}
    waiting, seen = [found], set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, _View):
            kept[value.storage] = None
        elif type(value) in (dict, list, tuple) and id(value) not in seen:
            seen.add(id(value))
            waiting.extend(value.values() if type(value) is dict else value)
    return list(kept)


def _array(view, storages):
    """Return the tensor as a contiguous array."""
    raw, data = view.storage.dtype, storages.get(view.storage)
    if data is None:
        raise Unreadable(f"storage {view.storage.key} is missing")
    if raw == BFLOAT16:
        values = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)      # upper half of a float32
    else:
        values = np.frombuffer(data, raw)
    steps = [values.itemsize * step for step in view.strides]
    array = np.lib.stride_tricks.as_strided(values[view.offset:], view.shape, steps, writeable=False)
    with np.errstate(over="ignore"):                            # large float64: infinity, which callers reject
        return np.array(array, np.float32 if values.dtype.kind == "f" else np.int64, order="C")


def _storage(reference):
    """Return the storage of a persistent id ("storage", kind, key, place, count); the older format appends None."""
    if type(reference) is not tuple or len(reference) not in (5, 6) or reference[0] != "storage":
        raise Unreadable("a reference does not name a storage")
    _, kind, key, _, count = reference[:5]
    if not isinstance(kind, _Kind) or type(key) is not str or type(count) is not int or count < 0:
        raise Unreadable("the description of a storage is malformed")
    if len(reference) == 6 and reference[5] is not None:
        raise Unreadable("a storage is a view of another one, which is not supported")
    return _Storage(key, kind.dtype, count)


@dataclass(frozen=True)
class _Kind:
    """A class of storages, which a pickle names without calling it."""

    dtype: str


def _rebuild_tensor(storage, offset, shape, strides, requires_grad=False, hooks=None, metadata=None):
    """Return a view; Unreadable unless it lies inside its storage."""
    numbers = (offset, *shape, *strides)
    if not isinstance(storage, _Storage) or not all(type(n) is int and 0 <= n < 1 << 48 for n in numbers):
        raise Unreadable("the description of a tensor is malformed")
    if len(shape) != len(strides) or len(shape) > 8:
        raise Unreadable("a tensor's shape and strides do not fit")
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if math.prod(shape) and last >= storage.count:
        raise Unreadable("a tensor reaches beyond its storage")
    return _View(storage, offset, shape, strides)


def _exactly(data, count):
    if len(data) != count:
        raise Unreadable(f"a storage has {len(data)} bytes, not {count}")
    return data


def _width(dtype):
    return 2 if dtype == BFLOAT16 else np.dtype(dtype).itemsize


_FUNCTIONS: dict[str, object] = {
    "collections OrderedDict": lambda: {},
    "torch._utils _rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils _rebuild_parameter": lambda data, requires_grad, hooks: data,
    **{f"torch {name}": _Kind(dtype) for name, dtype in STORAGES.items()},
}
