"""Read what PyTorch saved, in its zip format and the two older ones, without PyTorch.

The structure is a pickle, read by the interpreter in pickles.py; tensors are views of storages, whose bytes follow
separately. Sizes are checked against the file before any allocation.
"""
import io
import struct
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tinyq.errors import BadInput
from tinyq.files.foreign.numpy_pickles import Array
from tinyq.files.foreign.pickle_objects import Inert
from tinyq.files.foreign.pickle_texts import Unreadable
from tinyq.files.foreign.pickles import Interpreter
from tinyq.files.foreign.torch_tensors import FUNCTIONS, MAX_AXES, Kind, Storage, View, persistent_loader, rebuilt
from tinyq.files.read import read_file

LEGACY_MAGIC, LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
TAR_MEMBERS = "sys_info", "storages", "tensors", "pickle"
MAX_VIEWS = 4                          # bytes of all tensors per byte of the file, at most
LITTLE = "its numbers are not little-endian; load it with torch.load and save it again on a usual machine"


@dataclass(frozen=True)
class Saved:
    """An object that PyTorch saved: dicts, lists, numbers, texts, View, Array and Inert objects."""

    content: object
    bytes_of: Callable[[Storage], bytes | memoryview]       # the bytes of a storage
    size: int                                               # bytes of the file

    def arrays(self, weights: Mapping[str, object]) -> dict[str, np.ndarray]:
        """Return {name: array} of tensors in it: floats as float32, integers as int64; Unreadable where that fails."""
        views = [value for value in weights.values() if isinstance(value, View)]
        if sum(view.nbytes for view in views) > MAX_VIEWS * self.size:
            raise Unreadable("its tensors are larger than the file")
        return {name: self._array(value) for name, value in weights.items()}

    def _array(self, value):
        if isinstance(value, View):
            return value.array(self.bytes_of)
        values = value.values
        return np.array(values, np.float32 if values.dtype.kind == "f" else np.int64, order="C")


def load(path: str | Path) -> Saved:
    """Read a file of any of PyTorch's formats, or a plain pickle; BadInput where it is broken."""
    data = read_file(path)
    try:
        if data[:4] == b"PK\x03\x04":
            return _zip(data)
        return _tar(data) if data[257:262] == b"ustar" else _legacy(data)
    except Exception as error:                  # zipfile and tarfile raise anything on hostile bytes
        raise BadInput(f"{path}: not readable as PyTorch weights: {error}") from error


def is_tensor(value: object) -> bool:
    """Return whether a value can be one of a network's weights."""
    return isinstance(value, View) or isinstance(value, Array) and value.values is not None


def axes_of(value: View | Array) -> int:
    """Return the number of axes of a tensor."""
    return len(value.shape) if isinstance(value, View) else 0 if value.values is None else value.values.ndim


def _zip(data):
    archive = zipfile.ZipFile(io.BytesIO(data))
    members = {info.filename: info for info in archive.infolist()}
    folders = [name[:-len("data.pkl")] for name in members if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(members) != len(archive.infolist()) or len(folders) != 1:
        raise Unreadable("the archive must hold one folder with one data.pkl, and no name twice")

    def member(name):
        info = members.get(folders[0] + name)
        if info is None:
            raise Unreadable(f"{name} is missing")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size > len(data):
            raise Unreadable(f"{name} is compressed, or larger than the file")
        return archive.read(info)

    if folders[0] + "byteorder" in members and member("byteorder") != b"little":
        raise Unreadable(LITTLE)
    persistent, _ = persistent_loader()
    content = Interpreter(member("data.pkl"), FUNCTIONS, persistent).load()
    return Saved(content, lambda storage: member(f"data/{storage.key}"), len(data))


def _legacy(data):
    """Read one plain pickle, or PyTorch's pickles of a number, a version, the system and the object, then storages."""
    persistent, storages = persistent_loader()
    machine = Interpreter(data, {**FUNCTIONS, "torch.storage _load_from_bytes": _storage_in}, persistent)
    first = machine.load()
    if isinstance(first, dict):
        return Saved(first, lambda storage: storage.own or b"", len(data))
    if first != LEGACY_MAGIC:
        raise Unreadable("its first bytes are not those of such a file")
    return _with_storages(machine, storages, len(data))


def _with_storages(machine, storages, size):
    if machine.load() != LEGACY_PROTOCOL:
        raise Unreadable("its version is not one of PyTorch's")
    system = machine.load()
    if type(system) is not dict or system.get("little_endian") is not True:
        raise Unreadable(LITTLE)
    content, keys = machine.load(), machine.load()
    if type(keys) is not list or not all(type(key) is str and key in storages for key in keys):
        raise Unreadable("its list of storages does not match its tensors")
    return Saved(content, _found_in(_held(machine, [storages[key] for key in keys])), size)


def _storage_in(data: object) -> Storage:
    """Return the storage that a plain pickle of a tensor holds, saved on its own in the older format."""
    persistent, storages = persistent_loader()
    machine = Interpreter(data if isinstance(data, bytes) else b"", FUNCTIONS, persistent)
    if machine.load() != LEGACY_MAGIC:
        raise Unreadable("a storage inside a pickle is malformed")
    saved = _with_storages(machine, storages, 0)
    if not isinstance(saved.content, Storage):
        raise Unreadable("a storage inside a pickle is malformed")
    return replace(saved.content, own=bytes(saved.bytes_of(saved.content)))


def _held(machine, storages):
    """Return {key: bytes} of the storages that follow, each behind its number of elements."""
    kept = {}
    for storage in storages:
        if machine.number("q") != storage.count:
            raise Unreadable(f"the size of storage {storage.key} does not match its tensors")
        kept[storage.key] = machine.take(storage.nbytes)
    return kept


def _found_in(kept):
    def bytes_of(storage):
        if storage.key not in kept:
            raise Unreadable(f"storage {storage.key} is missing")
        return kept[storage.key]
    return bytes_of


def _tar(data):
    """Read the oldest format: a tar of the system, the storages, the tensors, and the object, which names tensors."""
    members: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        for info in archive:
            if info.name in TAR_MEMBERS and info.isreg() and not info.issparse():       # a sparse one may be endless
                members[info.name] = archive.extractfile(info).read()                   # type: ignore[union-attr]
    missing = [name for name in TAR_MEMBERS if name not in members]
    if missing:
        raise Unreadable(f"it is a tar archive without {', '.join(missing)}, so not of PyTorch; unpack it and convert "
                         "the file of weights in it")
    system = Interpreter(members["sys_info"], FUNCTIONS).load()
    if type(system) is not dict or system.get("little_endian") is not True:
        raise Unreadable(LITTLE)
    storages, kept = _tar_storages(Interpreter(members["storages"], FUNCTIONS))
    tensors = _tar_tensors(Interpreter(members["tensors"], FUNCTIONS), storages)

    def tensor(reference):
        if type(reference) is tuple:                            # a class and its source
            return Inert(str(reference[:1])[:40])
        if str(reference) not in tensors:
            raise Unreadable("a reference does not name a tensor")
        return tensors[str(reference)]

    return Saved(Interpreter(members["pickle"], FUNCTIONS, tensor).load(), _found_in(kept), len(data))


def _tar_storages(machine):
    """Return ({key: storage}, {key: its bytes})."""
    storages, kept = {}, {}
    for key, _, kind in _described(machine):
        if not isinstance(kind, Kind):
            raise Unreadable("the description of a storage is malformed")
        storages[str(key)] = storage = Storage(str(key), kind, machine.number("Q"))
        kept[storage.key] = machine.take(storage.nbytes)
    views = machine.load()
    for view in views if type(views) is list else ():
        if type(view) is not tuple or len(view) != 4 or str(view[1]) not in storages:
            raise Unreadable("the view of a storage is malformed")
        storages[str(view[0])] = storages[str(view[1])].part(*view[2:])
    return storages, kept


def _tar_tensors(machine, storages):
    """Return {key: tensor}. Each has its number of axes in 8 bytes, sizes, strides and an offset."""
    tensors = {}
    for key, storage, _ in _described(machine):
        axes = machine.number("ixxxx")
        if not 0 <= axes <= MAX_AXES or str(storage) not in storages:
            raise Unreadable("the description of a tensor is malformed")
        sizes, strides = (struct.unpack(f"<{axes}q", machine.take(8 * axes)) for _ in range(2))
        tensors[str(key)] = rebuilt(storages[str(storage)], machine.number("q"), sizes, strides)
    return tensors


def _described(machine):
    """Yield the descriptions of storages or tensors, behind their number."""
    count = machine.load()
    if type(count) is not int:
        raise Unreadable("a number of parts is missing")
    for _ in range(count):
        described = machine.load()
        if type(described) is not tuple or len(described) != 3:
            raise Unreadable("the description of a part is malformed")
        yield described
