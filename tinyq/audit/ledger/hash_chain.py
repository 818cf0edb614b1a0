"""ledger.jsonl: one JSON record per line, each with the SHA-256 of the line before it.

The SHA-256 of the last line is the head. It depends on every line: changing, removing or moving a record changes it.
`sed -n 7p ledger.jsonl | sha256sum` prints the "prev" of line 8.
"""
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from tinyq.errors import AuditMismatch
from tinyq.files.lines import Lines, read_lines

LEDGER_FILE = "ledger.jsonl"
FORMAT = "tinyq ledger/3"
NOTHING_BEFORE = "0" * 64
# Kinds of records that depend on the configuration and the data alone: a replay makes the same ones.
FIXED = ("phase", "step", "epoch")


@dataclass(frozen=True)
class Line:
    """A line of a ledger."""

    record: dict
    data: bytes                         # as in the file, with the newline
    head: str                           # SHA-256 of data

    @property
    def kind(self) -> str:
        """The kind of the record: begin, phase, step, epoch, file, check, resume, exception or end."""
        return self.record["record"]


def head_of(run_folder: str | Path) -> str | None:
    """Return the head of a run's ledger, the SHA-256 of its last whole line; None where there is no ledger."""
    path = Path(run_folder) / LEDGER_FILE
    lines = read_lines(path) if path.is_file() else []
    return hashlib.sha256(lines[-1]).hexdigest() if lines else None


def read(path: str | Path) -> list[Line]:
    """Return the lines of a ledger.

    Raises AuditMismatch, naming the first line that is no record or does not follow the one before it, and BadInput
    where the file cannot be read.
    """
    found, fault = beginning(path)
    if fault:
        raise AuditMismatch(fault)
    return found


def beginning(path: str | Path) -> tuple[list[Line], str]:
    """Return the lines up to the first that does not follow the one before it, and the fault of that one or "".

    A power cut may damage the lines after the last checkpoint. Raises BadInput where the file cannot be read.
    """
    found: list[Line] = []
    before = NOTHING_BEFORE
    for number, data in enumerate(read_lines(path), 1):
        record = _record(data)
        if record is None:
            return found, f"{path}: line {number} is not a record of a ledger"
        if record["prev"] != before:
            return found, (f"{path}: line {number} does not follow line {number - 1}: a line was changed, removed or "
                           "moved" if number > 1 else f"{path}: the first line is not line 1")
        before = hashlib.sha256(data).hexdigest()
        found.append(Line(record, data, before))
    return found, ""


def check_format(path: str | Path, lines: list[Line]) -> None:
    """Raise AuditMismatch unless a ledger begins as this version of tinyq writes it."""
    found = lines[0].record.get("format") if lines and lines[0].kind == "begin" else None
    if not isinstance(found, str):
        raise AuditMismatch(f"{path}: does not begin with the first record of a ledger")
    if found != FORMAT:
        raise AuditMismatch(f"{path}: is in the format {found}, but this version of tinyq reads {FORMAT}; use the "
                            "version that wrote it (its first line says which)")


def encode(record: dict, before: str) -> Line:
    """Return the line of a record that follows the line with SHA-256 `before`."""
    data = (json.dumps({"prev": before, **record}, separators=(",", ":"), allow_nan=False) + "\n").encode()
    return Line({"prev": before, **record}, data, hashlib.sha256(data).hexdigest())


class Ledger:
    """The ledger of a running job, open for appending."""

    def __init__(self, path: str | Path, head: str | None, after_checkpoint: bool):
        """Open the ledger with all lines up to `head`, the head in the checkpoint, and the records of that moment.

        Records after that, of a run that was killed, become `expected`: when their steps are repeated, the records must
        be equal. Damaged lines, as a power cut may leave them, are dropped. Raises AuditMismatch where the file does
        not contain the head or has another format.
        """
        path = Path(path)
        lines, self.damage = beginning(path) if path.exists() else ([], "")
        if lines:
            check_format(path, lines)
        kept = self._up_to(path, lines, head) if after_checkpoint and head else 0
        while kept < len(lines) and lines[kept].kind not in FIXED:
            kept += 1
        self.kept, self.old_head = lines[:kept], lines[-1].head if lines else None
        self.expected = [line for line in lines[kept:] if line.kind in FIXED]
        self._file = Lines(path, b"".join(line.data for line in self.kept))
        self.path, self.records = path, kept
        self.head = self.kept[-1].head if self.kept else NOTHING_BEFORE

    def add(self, record: dict) -> None:
        """Append a record.

        Raises AuditMismatch, naming what differs, where it repeats a record and differs from it, and InputOutputError
        where the disk refuses it: the record is then part of the chain and is written before the next one.
        """
        if self.expected and record["record"] in FIXED:
            self._compare(self.expected.pop(0).record, record)
        line = encode(record, self.head)
        self.head, self.records = line.head, self.records + 1
        self._file.add(line.data)

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

    def _up_to(self, path, lines, head):
        for number, line in enumerate(lines, 1):
            if line.head == head:
                return number
        raise AuditMismatch(self.damage or f"{path}: contains no line with SHA-256 {head}, the head in the checkpoint; "
                            "restore the ledger of this run, or start a new run")

    def _compare(self, old, new):
        differing = [key for key in {**old, **new} if key != "prev" and _plain(old.get(key)) != _plain(new.get(key))]
        if differing:
            where = f"step {new['step']}" if "step" in new else new["record"]
            raise AuditMismatch(f"{self.path}: {where}, repeated, differs from its record in {', '.join(differing)}; "
                                "python -m tinyq.audit replay names the tensor")


def _plain(value):
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
