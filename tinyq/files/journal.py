"""Append JSON records to a file, one per line, each handed to the system before the next is made."""
import json
import math
from itertools import islice
from pathlib import Path
from typing import Self

from tinyq.errors import BadInput
from tinyq.files.lines import Lines, lines_of
from tinyq.output.terminal import tell

LEDGER_FILE = "ledger.jsonl"            # the audit's records of a run


class Journal:
    """An append-only file such as metrics.jsonl: appended records survive a kill, synced ones a power cut."""

    def __init__(self, path: str | Path, keep: int = 0):
        """Open the journal with its first `keep` records and drop later ones, which a run that died left.

        Raises BadInput where the file holds fewer than `keep` records.
        """
        self.path, self.records = Path(path), keep
        sizes = [len(line) for line in islice(lines_of(path), keep)] if keep else []
        if len(sizes) < keep:
            raise BadInput(f"{path}: has {len(sizes)} records, but the checkpoint counts {keep}; "
                           "the file was changed after the run stopped")
        self._lines = Lines(path, sum(sizes))

    def append(self, record: dict) -> None:
        """Add one record; NaN and infinities become null, so that every line is JSON.

        Raises InputOutputError where the disk is full; the record is kept in memory and written before the next.
        """
        self.records += 1
        self._lines.add(encode(record))

    def sync(self) -> None:
        """Sync all records so far to the disk; InputOutputError where that fails."""
        self._lines.sync()

    def close(self) -> None:
        """Close the file."""
        self._lines.close()

    def __enter__(self) -> Self:
        """Return the journal."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the file."""
        self.close()


def encode(record: dict) -> bytes:
    """Return the line of a record; NaN and infinities become null."""
    return (json.dumps(_finite(record), allow_nan=False) + "\n").encode()


def read_records(path: str | Path, kind: str | None = None) -> list[dict]:
    """Return all whole records of a journal, or those of one kind, such as "epoch".

    Damaged lines are left out, with a line on standard error.
    """
    records, damaged = [], []
    for number, line in enumerate(lines_of(path), 1):
        record = _record(line)
        if record is None:
            damaged.append(number)
        elif kind is None or record.get("record") == kind:
            records.append(record)
    if damaged:
        tell(f"tinyq: {path}: damaged lines are left out: {len(damaged)}, the first is line {damaged[0]}")
    return records


def _record(line):
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("record", ""), str) else None


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
