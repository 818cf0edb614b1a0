"""ledger.jsonl: one JSON record per line, each with the SHA-256 of the line before it.

The SHA-256 of the last line is the head. It depends on every line: changing, removing or moving a record changes it.
`sed -n 7p ledger.jsonl | sha256sum` prints the "prev" of line 8.
"""
import hashlib
import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tinyq.errors import AuditMismatch
from tinyq.files.journal import LEDGER_FILE
from tinyq.files.lines import Lines, lines_of

FORMAT = "tinyq ledger/5"
NOTHING_BEFORE = "0" * 64
# Kinds of records that depend on the configuration and the data alone: a replay makes the same ones.
FIXED = ("phase", "step", "epoch", "float")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a ledger."""

    record: dict
    head: str                           # SHA-256 of the line, newline included
    number: int                         # from 1
    end: int                            # bytes of the ledger up to the end of this line

    @property
    def kind(self) -> str:
        """The kind of the record: a key of records.FIELDS."""
        return self.record["record"]


def head_of(run_folder: str | Path) -> str | None:
    """Return the head of a run's ledger, the SHA-256 of its last whole line; None where there is no ledger."""
    path = Path(run_folder) / LEDGER_FILE
    last = deque(lines_of(path), maxlen=1) if path.is_file() else ()
    return hashlib.sha256(last[0]).hexdigest() if last else None


def chain(path: str | Path, after: Line | None = None) -> Iterator[Line]:
    """Yield the lines of a ledger, or those after a line of it, one at a time.

    Raises AuditMismatch at the first line that is no record or does not follow the one before it, and BadInput where
    the file cannot be read.
    """
    before, number, end = (after.head, after.number, after.end) if after else (NOTHING_BEFORE, 0, 0)
    for data in lines_of(path, end):
        record, number = _record(data), number + 1
        if record is None:
            raise AuditMismatch(f"{path}: line {number} is not a record of a ledger")
        if record["prev"] != before:
            raise AuditMismatch(f"{path}: line {number} does not follow line {number - 1}: a line was changed, removed "
                                "or moved" if number > 1 else f"{path}: the first line is not line 1")
        if not _is_as_written(record, before, data):
            raise AuditMismatch(f"{path}: line {number} is not written as tinyq writes its record")
        before, end = hashlib.sha256(data).hexdigest(), end + len(data)
        yield Line(record, before, number, end)


def check_format(path: str | Path, first: Line | None) -> None:
    """Raise AuditMismatch unless a ledger begins as this version of tinyq writes it."""
    found = first.record.get("format") if first and first.kind == "begin" else None
    if not isinstance(found, str):
        raise AuditMismatch(f"{path}: does not begin with the first record of a ledger")
    if found != FORMAT:
        raise AuditMismatch(f"{path}: is in the format {found}, but this version of tinyq reads {FORMAT}; use the "
                            "version that wrote it (its first line says which)")


_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)         # made once: a quarter of the time


def encode(record: dict, before: str) -> bytes:
    """Return the line of a record that follows the line with SHA-256 `before`."""
    return (_ENCODER.encode({"prev": before, **record}) + "\n").encode()


class Ledger:
    """The ledger of a running job, open for appending."""

    def __init__(self, path: str | Path, head: str | None):
        """Open the ledger after the line with SHA-256 `head`, of a checkpoint; None begins it, or begins it again.

        Records after that, of a run that was killed, become `expected`: when their steps are repeated, the records must
        be equal. Damaged lines, as a power cut may leave them, are dropped. Raises AuditMismatch where the file does
        not contain the head or has another format.
        """
        self.path, self.damage = Path(path), ""
        last, tail = self._read(head) if self.path.exists() else (None, [])
        if head is not None and last is None:
            raise AuditMismatch(self.damage or f"{path}: contains no line with SHA-256 {head}, the head in the "
                                "checkpoint; restore the ledger of this run, or start a new run")
        self.old_head = (tail[-1] if tail else last).head if tail or last else None
        self.kept_files = set[str]()            # with a record since the checkpoint
        while last and tail and tail[0].kind not in FIXED:
            last = tail.pop(0)
            self.kept_files.add(str(last.record.get("file")))
        self.expected = [line.record for line in tail if line.kind in FIXED]
        self._file = Lines(self.path, last.end if last else 0)
        self.head = last.head if last else NOTHING_BEFORE

    def add(self, record: dict) -> None:
        """Append a record.

        Raises AuditMismatch, naming what differs, where it repeats a record and differs from it, and InputOutputError
        where the disk refuses it: the record is then part of the chain and is written before the next one.
        """
        if self.expected and record["record"] in FIXED:
            self._compare(self.expected.pop(0), record)
        data = encode(record, self.head)
        self.head = hashlib.sha256(data).hexdigest()
        self._file.add(data)

    @property
    def waiting(self) -> int:
        """Bytes of records that are not written yet."""
        return self._file.waiting

    def sync(self) -> None:
        """Wait until all records are on the disk; InputOutputError where the disk refuses them."""
        self._file.sync()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read(self, head):
        """Return the line with this SHA-256, None where there is none, and the lines after it."""
        last: Line | None = None
        tail: list[Line] = []
        lines = chain(self.path)
        while (line := self._next(lines)) is not None:
            if line.number == 1:
                check_format(self.path, line)
            if line.head == head:
                last = line
            elif last or head is None:
                tail.append(line)
        return last, tail

    def _next(self, lines):
        """Return the next line; None at the end or where the ledger is damaged."""
        try:
            return next(lines, None)
        except AuditMismatch as error:
            self.damage = str(error)
            return None

    def _compare(self, old, new):
        if differing := [key for key in differing_keys(old, new) if key != "prev"]:
            where = f"step {new['step']}" if "step" in new else new["record"]
            raise AuditMismatch(f"{self.path}: {where}, repeated, differs from its record in {', '.join(differing)}; "
                                "python -m tinyq.audit replay names the tensor")


def _is_as_written(record, before, data):
    """Return True if the line is the record's only spelling: another reader cannot read it otherwise."""
    try:
        return encode({key: value for key, value in record.items() if key != "prev"}, before) == data
    except ValueError:                          # a number that is not finite
        return False


def differing_keys(one: Mapping[str, object], other: Mapping[str, object]) -> list[str]:
    """Return the keys that only one of them has, or whose values JSON writes otherwise: true is not 1, nor 1 1.0."""
    return [key for key in {**one, **other}
            if (key in one) != (key in other) or json.dumps(one[key]) != json.dumps(other[key])]


def plain(value: object) -> object:
    """Return the value as JSON reads it back: tuples become lists."""
    return json.loads(json.dumps(value))


def _record(data):
    """Return the record of a line; None where it is no record."""
    try:
        record = json.loads(data)
        if isinstance(record, dict) and isinstance(record["prev"], str) and isinstance(record["record"], str):
            return record
    except (ValueError, KeyError, RecursionError):
        pass
    return None
