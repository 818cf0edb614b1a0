"""A file of JSON records, one a line, each on its way to the disk before the next is made."""
import json
import math
import os
from pathlib import Path

from tinyq.errors import BadInput, CannotCreate, InputOutputError
from tinyq.files.atomic import write_bytes


class Journal:
    """metrics.jsonl and its like: append-only; what was appended survives a kill, what was synced a power cut."""

    def __init__(self, path, keep: int = 0):
        """Open the journal with its first `keep` records; later ones, of a run that died, are dropped.

        Raises BadInput when the file holds fewer than `keep` records.
        """
        self.path, self.records, self._waiting, self._doubtful = Path(path), keep, b"", False
        lines = _complete_lines(self.path) if keep else []
        if len(lines) < keep:
            raise BadInput(f"{path}: {len(lines)} records where the checkpoint counts {keep}; "
                           "the file was changed after the run stopped")
        write_bytes(self.path, b"".join(lines[:keep]))
        self._open()

    def append(self, record: dict) -> None:
        """Add one record; NaN and infinities become null, so that every line is JSON.

        Raises InputOutputError when the disk takes no more; the record is kept, and written before the next.
        """
        self._waiting += (json.dumps(_finite(record), allow_nan=False) + "\n").encode()
        self.records += 1
        self._write()

    def sync(self) -> None:
        """See to it that every record so far survives a power cut; InputOutputError when that fails."""
        self._write()
        try:
            if self._doubtful:                  # after a failed sync the system may take lost bytes for written ones
                self._write_anew()
            os.fsync(self._descriptor)
        except (OSError, BadInput) as error:
            self._doubtful = True
            raise InputOutputError(f"{self.path}: syncing failed ({error}); look after this disk") from error

    def close(self) -> None:
        """Close the file; no more records can be added."""
        os.close(self._descriptor)

    def __enter__(self):
        """The journal itself."""
        return self

    def __exit__(self, *exception):
        """Close."""
        self.close()

    def _open(self):
        try:
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except OSError as error:
            raise CannotCreate(f"{self.path}: cannot be opened for writing ({error.strerror})") from error

    def _write(self):
        try:
            while self._waiting:                # a write may be short: the rest of the line follows
                self._waiting = self._waiting[os.write(self._descriptor, self._waiting):]
        except OSError as error:
            raise InputOutputError(f"{self.path}: writing failed ({error.strerror}); free some space") from error

    def _write_anew(self):
        lines = _complete_lines(self.path)
        if len(lines) != self.records:
            raise OSError(f"{len(lines)} of {self.records} records are left")
        write_bytes(self.path, b"".join(lines))
        before = self._descriptor
        self._open()
        os.close(before)
        self._doubtful = False


def read_records(path) -> list[dict]:
    """All whole records of a journal; a line that is none, cut short by a kill or damaged since, is left out."""
    return [record for line in _complete_lines(Path(path)) if (record := _record(line)) is not None]


def _record(line):
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("record", ""), str) else None


def _complete_lines(path):
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from error
    return [line for line in lines if line.endswith(b"\n")]


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
