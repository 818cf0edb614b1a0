"""ledger.jsonl: one JSON record a line, each holding the SHA-256 of the line before it.

Because of that the SHA-256 of the last line, the head, stands for all of them: a record that is changed, left out or
moved changes it. `sed -n 7p ledger.jsonl | sha256sum` is what line 8 calls "prev".
"""
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from tinyq.errors import AuditMismatch
from tinyq.files.lines import Lines, read_lines

LEDGER_FILE = "ledger.jsonl"
FORMAT = "tinyq ledger/2"
NOTHING_BEFORE = "0" * 64
# Kinds of records that follow from the configuration and the data alone: done again they are the same.
FIXED = ("phase", "step", "epoch")


@dataclass(frozen=True)
class Line:
    """A record, its bytes in the file with the newline, and their SHA-256."""

    record: dict
    data: bytes
    head: str

    @property
    def kind(self) -> str:
        """What the record is of."""
        return self.record["record"]


def head_of(run_folder) -> str | None:
    """The head of a run's ledger: the SHA-256 of its last whole line; None where there is no ledger."""
    path = Path(run_folder) / LEDGER_FILE
    lines = read_lines(path) if path.is_file() else []
    return hashlib.sha256(lines[-1]).hexdigest() if lines else None


def read(path) -> list[Line]:
    """The lines of a ledger; AuditMismatch, with its number, for the first that is no record or does not follow.

    BadInput where the file cannot be read.
    """
    found, fault = beginning(path)
    if fault:
        raise AuditMismatch(fault)
    return found


def beginning(path) -> tuple[list[Line], str]:
    """The lines of a ledger up to the first that does not follow, and what is wrong with that one, "" for none.

    After a power cut the lines behind the last checkpoint may be torn. BadInput where the file cannot be read.
    """
    found, before = [], NOTHING_BEFORE
    for number, data in enumerate(read_lines(path), 1):
        record = _record(data)
        if record is None:
            return found, f"{path}: line {number} is no record of a ledger"
        if record["prev"] != before:
            return found, (f"{path}: line {number} does not follow line {number - 1}: a line was changed, left out or "
                           "moved" if number > 1 else f"{path}: the first line is not line 1")
        before = hashlib.sha256(data).hexdigest()
        found.append(Line(record, data, before))
    return found, ""


def encode(record: dict, before: str) -> Line:
    """The line of a record that follows the line with SHA-256 `before`."""
    data = (json.dumps({"prev": before, **record}, separators=(",", ":"), allow_nan=False) + "\n").encode()
    return Line({"prev": before, **record}, data, hashlib.sha256(data).hexdigest())


class Ledger:
    """The ledger of a run that is under way."""

    def __init__(self, path, head: str | None, after_checkpoint: bool):
        """Open it, with all lines up to `head`, which a checkpoint was written under, and what was noted right then.

        The steps beyond, of a run that went on and was cut off, become `expected`: done again, they must be the same.
        From a line on that does not follow, as a power cut may leave one, they are only done again. AuditMismatch where
        the file does not hold the head.
        """
        path = Path(path)
        lines, self.damage = beginning(path) if path.exists() else ([], "")
        kept = self._up_to(path, lines, head) if after_checkpoint and head else 0
        while kept < len(lines) and lines[kept].kind not in FIXED:
            kept += 1
        self.kept, self.old_head = lines[:kept], lines[-1].head if lines else None
        self.expected = [line for line in lines[kept:] if line.kind in FIXED]
        self._file = Lines(path, b"".join(line.data for line in self.kept))
        self.path, self.records = path, kept
        self.head = self.kept[-1].head if self.kept else NOTHING_BEFORE

    def add(self, record: dict) -> None:
        """Append a record; AuditMismatch, naming what differs, where the same step was recorded otherwise before.

        InputOutputError when the disk takes no more; the record is part of the chain, and written before the next.
        """
        if self.expected and record["record"] in FIXED:
            self._compare(self.expected.pop(0).record, record)
        line = encode(record, self.head)
        self.head, self.records = line.head, self.records + 1
        self._file.add(line.data)

    @property
    def waiting(self) -> int:
        """Bytes of records that the disk has not taken yet."""
        return self._file.waiting

    def sync(self) -> None:
        """Wait until all records are on the disk; InputOutputError where it does not take them."""
        self._file.sync()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _up_to(self, path, lines, head):
        for number, line in enumerate(lines, 1):
            if line.head == head:
                return number
        raise AuditMismatch(self.damage or f"{path}: holds no line with SHA-256 {head}, under which the checkpoint was "
                            "written; put the run's own ledger back, or start a new run")

    def _compare(self, old, new):
        differing = [key for key in {**old, **new} if key != "prev" and _plain(old.get(key)) != _plain(new.get(key))]
        if differing:
            where = f"step {new['step']}" if "step" in new else new["record"]
            raise AuditMismatch(f"{self.path}: {where}, done again, differs from its record in {', '.join(differing)}; "
                                "python -m tinyq.audit replay names the tensor")


def _plain(value):
    """The value as JSON gives it back: tuples are lists."""
    return json.loads(json.dumps(value))


def _record(data):
    """The record of a line; None where it is none."""
    try:
        record = json.loads(data)
        if isinstance(record, dict) and isinstance(record["prev"], str) and isinstance(record["record"], str):
            return record
    except (ValueError, KeyError, RecursionError):
        pass
    return None
