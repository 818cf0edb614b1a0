"""Describe the storages and tensors of PyTorch's files, as their pickles name them."""
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from tinyq.files.foreign.numpy_pickles import NUMPY
from tinyq.files.foreign.pickle_objects import Inert
from tinyq.files.foreign.pickle_texts import Unreadable

BFLOAT16 = "bfloat16"                   # NumPy does not have it
# Kind of storage: NumPy's type of its elements, or bytes of each where that is no type of weights.
STORAGES: dict[str, str | int] = {
    "FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "BFloat16Storage": BFLOAT16,
    "LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "<i1", "ByteStorage": "<u1",
    "BoolStorage": "?", "UntypedStorage": 1, "QInt8Storage": 1, "QUInt8Storage": 1, "QUInt4x2Storage": 1,
    "QUInt2x4Storage": 1, "QInt32Storage": 4, "ComplexFloatStorage": 8, "ComplexDoubleStorage": 16}
MAX_AXES, MAX_SIZE = 8, 1 << 48


@dataclass(frozen=True)
class Kind:
    """A class of storages, which a pickle names without calling it."""

    name: str

    @property
    def dtype(self) -> str:
        """NumPy's type of an element, or BFLOAT16; Unreadable for elements that are no weights."""
        dtype = STORAGES[self.name]
        if isinstance(dtype, int):
            raise Unreadable(f"its tensors are of a {self.name}, which is not supported")
        return dtype

    @property
    def width(self) -> int:
        """Bytes of an element."""
        dtype = STORAGES[self.name]
        return dtype if isinstance(dtype, int) else 2 if dtype == BFLOAT16 else np.dtype(dtype).itemsize


@dataclass(frozen=True)
class Storage:
    """Elements that tensors share.

    start, held: those of its part that a view of it may use. own: its bytes, where they stand in the pickle itself.
    """

    key: str
    kind: Kind
    count: int
    start: int = 0
    held: int | None = None
    own: bytes | None = field(default=None, compare=False, repr=False)

    @property
    def nbytes(self) -> int:
        """Bytes of the whole storage."""
        return self.count * self.kind.width

    def part(self, start: int, held: int) -> "Storage":
        """Return the view of a part; Unreadable unless it lies inside."""
        if not (type(start) is int and type(held) is int and 0 <= start <= start + held <= self.count):
            raise Unreadable("a view of a storage reaches beyond it")
        return replace(self, start=start, held=held)


@dataclass(frozen=True)
class View:
    """A tensor: elements of a storage, from an offset, by strides."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""
        return math.prod(self.shape) * self.storage.kind.width

    def array(self, bytes_of: Callable[[Storage], bytes | memoryview]) -> np.ndarray:
        """Return the tensor as a contiguous array: floats as float32, integers as int64."""
        dtype, data = self.storage.kind.dtype, bytes_of(self.storage)
        if len(data) != self.storage.nbytes:
            raise Unreadable(f"a storage has {len(data)} bytes, not {self.storage.nbytes}")
        if dtype == BFLOAT16:
            values = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)  # upper half of a float32
        else:
            values = np.frombuffer(data, dtype)
        steps = [values.itemsize * step for step in self.strides]
        array = np.lib.stride_tricks.as_strided(values[self.offset:], self.shape, steps, writeable=False)
        with np.errstate(over="ignore"):                            # large float64: infinity, which callers reject
            return np.array(array, np.float32 if values.dtype.kind == "f" else np.int64, order="C")


def storage_of(reference: object, found: dict[str, Storage]) -> object:
    """Return the storage of a persistent id ("storage", kind, key, place, count) and keep it in `found`.

    Older files append None, or (key, offset, count) of a view of the storage. Another id is that of an object that
    weights do not need ("module", class, source ...).
    """
    if type(reference) is not tuple or not reference:
        raise Unreadable("a reference does not name a storage")
    if reference[0] != "storage":
        return Inert(str(reference[0])[:40])
    if len(reference) not in (5, 6):
        raise Unreadable("a reference does not name a storage")
    _, kind, key, _, count = reference[:5]
    if not isinstance(kind, Kind) or type(key) is not str or type(count) is not int or not 0 <= count < MAX_SIZE:
        raise Unreadable("the description of a storage is malformed")
    storage = found.setdefault(key, Storage(key, kind, count))
    if storage != Storage(key, kind, count):
        raise Unreadable("a storage is described in two ways")
    view = reference[5] if len(reference) == 6 else None
    if view is None:
        return storage
    if type(view) is not tuple or len(view) != 3:
        raise Unreadable("the view of a storage is malformed")
    return storage.part(*view[1:])


def rebuilt(storage: object, offset: object, shape: object, strides: object, *others: object) -> View | Inert:
    """Return a tensor; Unreadable unless it lies inside its storage."""
    if isinstance(storage, Inert):
        return storage
    if not isinstance(storage, Storage) or not isinstance(shape, tuple | list) or not isinstance(strides, tuple | list):
        raise Unreadable("the description of a tensor is malformed")
    numbers = (offset, *shape, *strides)
    if type(offset) is not int or not all(type(n) is int and 0 <= n < MAX_SIZE for n in numbers):
        raise Unreadable("the description of a tensor is malformed")
    if len(shape) != len(strides) or len(shape) > MAX_AXES:
        raise Unreadable("a tensor's shape and strides do not fit")
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if math.prod(shape) and last >= (storage.count if storage.held is None else storage.held):
        raise Unreadable("a tensor reaches beyond its storage")
    return View(storage, storage.start + offset, tuple(shape), tuple(strides))


def _parameter(data: object, *others: object) -> object:
    return data


def _from_type(function: object, kind: object, arguments: object, *others: object) -> object:
    """Rebuild a tensor that has attributes of its own."""
    if not isinstance(arguments, tuple):
        return Inert("torch.Tensor")
    if function is rebuilt:
        return rebuilt(*arguments)
    return _parameter(*arguments) if function is _parameter else Inert("torch.Tensor")


FUNCTIONS: Mapping[str, object] = {
    **NUMPY,
    "torch._utils _rebuild_tensor": rebuilt, "torch._utils _rebuild_tensor_v2": rebuilt,
    "torch._utils _rebuild_parameter": _parameter, "torch._utils _rebuild_parameter_with_state": _parameter,
    "torch.nn.parameter Parameter": _parameter, "torch.autograd.variable Variable": _parameter,
    "torch._tensor _rebuild_from_type_v2": _from_type,
    **{f"{module} {name}": Kind(name) for name in STORAGES for module in ("torch", "torch.cuda", "torch.storage")},
}


def persistent_loader() -> tuple[Callable[[object], object], dict[str, Storage]]:
    """Return (function of persistent ids, the storages that it has met by key)."""
    found: dict[str, Storage] = {}
    return lambda reference: storage_of(reference, found), found
