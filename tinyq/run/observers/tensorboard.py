"""The records of metrics.jsonl as TensorBoard's events; the file is a function of these records and of nothing else."""
import math
import struct
from collections.abc import Iterable
from pathlib import Path

from tinyq.errors import BadInput
from tinyq.files.atomic import write_bytes
from tinyq.files.lines import Lines
from tinyq.files.read import read_file
from tinyq.files.tfrecord import framed

EVENTS_FILE = "events.out.tfevents.0.tinyq"         # TensorBoard wants "tfevents" in the name
POSITION = ("record", "phase", "epoch", "step", "seconds")
LARGEST = (2 - 2**-23) * 2.0**127                   # of float32, which an event holds
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5        # kinds of a protobuf field


class Events:
    """The event file of a running job, open for appending."""

    def __init__(self, path: str | Path, records: Iterable[dict] = ()):
        """Open the file with the events of these records; later ones, of a run that died, are dropped."""
        kept = encode(records)
        try:
            held = read_file(path)[:len(kept)]
        except BadInput:
            held = b""
        if held != kept:
            write_bytes(path, kept)
        self._lines = Lines(path, len(kept))

    def append(self, record: dict) -> None:
        """Add the event of a record; InputOutputError where the disk is full, as for a journal."""
        self._lines.add(event_of(record))

    def sync(self) -> None:
        """Sync all events so far to the disk; InputOutputError where that fails."""
        self._lines.sync()

    def close(self) -> None:
        """Close the file."""
        self._lines.close()


def encode(records: Iterable[dict]) -> bytes:
    """Return the file of these records."""
    version = framed(_field(1, FIXED64, struct.pack("<d", 0.0)) + _text(3, "brain.Event:2"))
    return version + b"".join(map(event_of, records))


def event_of(record: dict) -> bytes:
    """Return the event of a record: each of its numbers as a scalar KIND/NAME, such as epoch/validation_loss.

    Its time is that of the training, from the beginning, so that TensorBoard's relative time is without interruptions.
    """
    kind, values = record["record"], b""
    for name, value in record.items():
        if name not in POSITION and isinstance(value, int | float) and math.isfinite(value) and abs(value) <= LARGEST:
            number = struct.pack("<f", value)
            values += _field(1, BYTES, _text(1, f"{kind}/{name}") + _field(2, FIXED32, number))
    time = struct.pack("<d", float(record.get("seconds", 0.0)))
    return framed(_field(1, FIXED64, time) + _field(2, VARINT, _varint(record["step"])) + _field(5, BYTES, values))


def _text(number: int, text: str) -> bytes:
    return _field(number, BYTES, text.encode())


def _field(number: int, kind: int, data: bytes) -> bytes:
    """Return a protobuf field; bytes get their length."""
    length = _varint(len(data)) if kind == BYTES else b""
    return _varint(number << 3 | kind) + length + data


def _varint(number: int) -> bytes:
    """Return a whole number of at least 0 in groups of seven bits, the lowest first."""
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])
