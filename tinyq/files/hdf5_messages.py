"""Decode the messages in an HDF5 object's header: types, shapes, layouts and attributes that weights need."""
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

SPACE, LINK_INFO, TYPE, EXTERNAL, LAYOUT, FILTERS, ATTRIBUTE, MORE, TABLE = 1, 2, 3, 7, 8, 11, 12, 16, 17
COMPACT, CONTIGUOUS, CHUNKED, VIRTUAL = range(4)
SHARED = 2                              # flag of a message stored elsewhere
MAX_AXES = 32
NEWER = ("it links to other files or uses a newer form of HDF5 than tinyq reads; save it with h5py.File(path, 'w') and "
         "its default settings")


Message = tuple[int, int, memoryview]   # kind, flags, body


class Damaged(ValueError):
    """Error for bytes that are not an HDF5 file, or a broken or unsupported one."""


@dataclass(frozen=True)
class Stored:
    """Type and shape of a dataset or attribute; shape is None for one without values."""

    dtype: np.dtype
    shape: tuple[int, ...] | None

    @property
    def sizes(self) -> tuple[int, ...]:
        """The shape, which the caller knows not to be None."""
        assert self.shape is not None
        return self.shape

    @property
    def size(self) -> int:
        """Bytes of the values."""
        return math.prod(self.sizes) * self.dtype.itemsize


def describe(messages: list[Message]) -> Stored | None:
    """Return type and shape of a dataset; None where the object is no dataset. Damaged for unsupported types."""
    found = {kind: (flags, body) for kind, flags, body in messages}
    if LAYOUT not in found or SPACE not in found or TYPE not in found:
        return None
    (flags, kind), (_, space) = found[TYPE], found[SPACE]
    return Stored(_dtype(kind, flags), _shape(space))


def find_obstacle(messages: list[Message]) -> str | None:
    """Return why a dataset cannot be read, whatever its shape; None if it can."""
    found = {kind: body for kind, _, body in messages}
    if EXTERNAL in found or found[LAYOUT][:2] == bytes([4, VIRTUAL]):
        return "keeps its data in another file"
    if FILTERS in found and found[FILTERS][1:2] != b"\0":
        return "is compressed or filtered (h5repack -f NONE undoes that)"
    return None


def attributes(messages: list[Message]) -> Iterator[tuple[str, Stored | Damaged, bytes | memoryview]]:
    """Yield (name, type and shape or the reason why it is unsupported, bytes) of each attribute in a header."""
    for kind, flags, body in messages:
        if kind == ATTRIBUTE:
            yield _attribute(flags, body)


def _attribute(flags, body):
    version, own, *sizes = unpack("<BBHHH", body)
    if flags & SHARED or version not in (1, 2, 3):
        return "", Damaged("the attribute is in a shared message, which is not supported"), b""
    steps = [size + -size % 8 for size in sizes] if version == 1 else sizes
    starts = [8 + (version == 3) + sum(steps[:i]) for i in range(4)]
    text, kind, space = (bytes(body[start:start + size]) for start, size in zip(starts, sizes, strict=False))
    name = decode_text(text.partition(b"\0")[0])
    try:
        stored = Stored(_dtype(kind, SHARED if version > 1 and own else 0), _shape(space))
    except Damaged as reason:
        return name, reason, b""
    return name, stored, body[starts[3]:]


def find_layout(messages: list[Message]) -> tuple[int, memoryview]:
    """Return (kind, rest) of the message that locates a dataset's values."""
    body = next(body for kind, _, body in messages if kind == LAYOUT)
    version, kind = unpack("<BB", body)
    if version != 3 or kind > CHUNKED:
        raise Damaged(NEWER)
    return kind, body[2:]


def _shape(body):
    version, axes, _, kind = unpack("<BBBB", body)
    start = {1: 8, 2: 4}.get(version)
    if start is None or axes > MAX_AXES:
        raise Damaged("a shape is broken")
    return None if (version, kind) == (2, 2) else tuple(unpack(f"<{axes}Q", body[start:]))


def _known_types():
    """Return {datatype message without its version: NumPy type}."""
    found = {bytes.fromhex("0802000001000000" "1008000001000000" "00000800" "46414c5345000000" "5452554500000000"
                           "0001"): np.dtype(bool)}                                 # h5py's enumeration FALSE, TRUE
    for size in (1, 2, 4, 8):
        for sign, bits in (("i", 8), ("u", 0)):
            for order in (0, 1):
                found[struct.pack("<BBHIHH", 0, bits + order, 0, size, 0, 8 * size)] = np.dtype(
                    f"{'<>'[order]}{sign}{size}")
    for size, exponent, mantissa in ((2, 5, 10), (4, 8, 23), (8, 11, 52)):
        for order in (0, 1):
            found[struct.pack("<BBBBIHHBBBBI", 1, 0x20 + order, 8 * size - 1, 0, size, 0, 8 * size, mantissa, exponent,
                              0, mantissa, (1 << exponent - 1) - 1)] = np.dtype(f"{'<>'[order]}f{size}")
    return found


_TYPES = _known_types()
_TEXT, _MAX_TEXT = 3, (1 << 31) - 1


def _dtype(body, flags):
    """Return the NumPy type of a datatype message: a number or a fixed-length text."""
    kind, length = unpack("<B3xI", body)
    message = bytes([kind & 0x0F]) + bytes(body[1:64])
    dtype = next((dtype for key, dtype in _TYPES.items() if message.startswith(key)), None)
    if dtype is None and kind & 0x0F == _TEXT and 0 < length <= _MAX_TEXT:
        dtype = np.dtype(f"S{length}")
    if dtype is None or flags & SHARED:
        raise Damaged("its type is neither a number nor a fixed-length text")
    return dtype


def decode_text(data: bytes) -> str:
    """Decode a name or text; Damaged unless it is UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Damaged(f"not a UTF-8 name: {data[:40]!r}") from None


def unpack(layout: str, data: bytes | memoryview) -> tuple:
    """Unpack the beginning of `data` as struct does; Damaged where it is too short."""
    try:
        return struct.unpack_from(layout, data)
    except struct.error:
        raise Damaged("a part of it is cut short") from None
