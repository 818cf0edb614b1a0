"""Read and write protocol buffers by a table of their messages' fields, within a budget and without recursion in data.

A message is a dict with all names of its table. A field that is absent is None, or [] where it repeats. Fields that the
table does not name are skipped, so the depth of what is read is that of the table. Written fields stand in order of
their numbers: equal messages give equal bytes.
"""
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

Message: TypeAlias = dict[str, Any]
INTEGER, FLOAT, DOUBLE, TEXT, BYTES = "integer", "float", "double", "text", "bytes"
VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5            # wire types
MAX_FIELDS = 2_000_000                  # of a file; a field of two bytes makes an object of a hundred
MAX_VARINT = 10                         # bytes
MAX_NUMBER = (1 << 29) - 1              # of a field
_DTYPES: dict[Any, np.dtype] = {FLOAT: np.dtype("<f4"), DOUBLE: np.dtype("<f8")}
_WIRES: dict[Any, int] = {INTEGER: VARINT, FLOAT: FOUR_BYTES, DOUBLE: EIGHT_BYTES, TEXT: LENGTH, BYTES: LENGTH}
_WIDTHS = {EIGHT_BYTES: 8, FOUR_BYTES: 4}


@dataclass(frozen=True)
class Field:
    """One field of a message. kind: INTEGER ... BYTES, or the table of a message. many: it repeats.

    Repeated numbers are packed and come as an array: int64, float32 or float64.
    """

    number: int
    kind: "str | Table"
    many: bool = False


Table: TypeAlias = Mapping[str, Field]


class Malformed(ValueError):
    """Bytes that are no such message."""


def decode(data: bytes | memoryview, table: Table) -> Message:
    """Return the message that the bytes hold; Malformed where they hold none, or more fields than any network has.

    Texts are decoded, bytes are views of the data.
    """
    return _Decoder().message(memoryview(data), table)


def encode(message: Message, table: Table) -> bytes:
    """Return the bytes of a message; fields that are None, [] or missing are left out."""
    parts: list[bytes] = []
    _encode(message, table, parts)
    return b"".join(parts)


class _Decoder:
    def __init__(self) -> None:
        self.left = MAX_FIELDS

    def message(self, data: memoryview, table: Table) -> Message:
        """Decode one message, with those in it."""
        by_number = {field.number: (name, field) for name, field in table.items()}
        found: Message = {name: [] if field.many else None for name, field in table.items()}
        place = 0
        while place < len(data):
            self._spend(1)
            tag, place = _varint(data, place)
            start, end, integer = _extent(data, place, tag & 7)
            name, field = by_number.get(tag >> 3, ("", None))
            if field is not None:
                self._note(found, name, field, tag & 7, integer, data[start:end])
            place = end
        for name, field in table.items():
            if field.many and field.kind in (INTEGER, FLOAT, DOUBLE):
                found[name] = _joined(found[name], field.kind)
        return found

    def _note(self, found, name, field, wire, integer, data):
        value = self._value(field, wire, integer, data)
        if field.many:
            found[name].append(value)
        elif found[name] is None or type(value) is not dict:
            found[name] = value                                     # the last one counts
        else:
            raise Malformed(f"its {name} occurs twice")

    def _value(self, field, wire, integer, data):
        kind = field.kind
        if not isinstance(kind, str):
            _check_wire(wire, LENGTH)
            return self.message(data, kind)
        if field.many and wire == LENGTH and kind not in (TEXT, BYTES):
            return self._packed(kind, data)
        _check_wire(wire, _WIRES[kind])
        match kind:
            case "integer":
                return integer
            case "text":
                return bytes(data).decode(errors="replace")
            case "bytes":
                return data
        return float(np.frombuffer(data, _DTYPES[kind])[0])

    def _packed(self, kind, data):
        if kind == INTEGER:
            return self._varints(np.frombuffer(data, np.uint8))
        if len(data) % _DTYPES[kind].itemsize:
            raise Malformed("packed numbers end too early")
        return np.frombuffer(data, _DTYPES[kind])

    def _varints(self, data):
        ends = np.flatnonzero(data < 0x80)
        self._spend(len(ends))
        if len(data) and (not len(ends) or ends[-1] != len(data) - 1):
            raise Malformed("packed numbers end too early")
        starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
        lengths = ends - starts + 1
        if len(ends) and lengths.max() > MAX_VARINT:
            raise Malformed("a number is longer than ten bytes")
        values = np.zeros(len(ends), np.uint64)
        for k in range(int(lengths.max(initial=0))):
            has = lengths > k
            values[has] |= (data[starts[has] + k] & np.uint8(0x7F)).astype(np.uint64) << np.uint64(7 * k)
        return values.view(np.int64)

    def _spend(self, count):
        self.left -= count
        if self.left < 0:
            raise Malformed(f"it has more than {MAX_FIELDS:,} fields")


def _check_wire(wire, wanted):
    if wire != wanted:
        raise Malformed("a field has another type than its number says")


def _extent(data: memoryview, place: int, wire: int) -> tuple[int, int, int]:
    """Return (start, end, integer) of a field's value; the integer is that of a varint."""
    integer = 0
    if wire == VARINT:
        start = place
        integer, end = _varint(data, place)
        integer -= (integer >> 63) << 64                            # two's complement
    elif wire == LENGTH:
        size, start = _varint(data, place)
        end = start + size
    elif wire in _WIDTHS:
        start, end = place, place + _WIDTHS[wire]
    else:
        raise Malformed(f"a field has the wire type {wire}")
    if end > len(data):
        raise Malformed("it ends too early")
    return start, end, integer


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for k, byte in enumerate(data[place:place + MAX_VARINT]):
        value |= (byte & 0x7F) << 7 * k
        if byte < 0x80:
            return value & (1 << 64) - 1, place + k + 1
    raise Malformed("it ends within a number, or a number is longer than ten bytes")


def _joined(pieces, kind):
    dtype: np.dtype = np.dtype(np.int64) if kind == INTEGER else _DTYPES[kind]
    return np.concatenate([np.atleast_1d(np.asarray(piece, dtype)) for piece in pieces] or [np.empty(0, dtype)])


def _encode(message: Message, table: Table, parts: list[bytes]) -> int:
    """Append the pieces of a message; return their bytes."""
    size = 0
    for name, field in sorted(table.items(), key=lambda item: item[1].number):
        value = message.get(name)
        if value is None or field.many and not len(value):
            continue
        packed = field.many and field.kind in (INTEGER, FLOAT, DOUBLE)
        for each in value if field.many and not packed else [value]:
            size += _encode_field(field, each, parts)
    unknown = sorted(set(message) - set(table))
    assert not unknown, unknown
    return size


def _encode_field(field, value, parts):
    place = len(parts)
    wire = LENGTH if field.many or not isinstance(field.kind, str) else _WIRES[field.kind]
    parts.append(b"")                                               # the tag, once the length is known
    if isinstance(field.kind, str):
        parts.append(_bytes_of(field, value))
        size = len(parts[-1])
    else:
        size = _encode(value, field.kind, parts)
    parts[place] = _number(field.number << 3 | wire) + (_number(size) if wire == LENGTH else b"")
    return len(parts[place]) + size


def _bytes_of(field, value) -> bytes:
    match field.kind:
        case "integer":
            return b"".join(map(_number, value)) if field.many else _number(value)
        case "text":
            return value.encode()
        case "bytes":
            return bytes(value)
    values = np.asarray(value, _DTYPES[field.kind])
    return values.tobytes() if field.many else struct.pack("<f" if field.kind == FLOAT else "<d", value)


def _number(value) -> bytes:
    """Return a varint."""
    value, out = int(value) & (1 << 64) - 1, bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
