"""A file of JSON records, one a line, each on its way to the disk before the next is made."""
import json
import math
import os
from pathlib import Path

from tinyq.errors import BadInput, CannotCreate, InputOutputError
from tinyq.files.atomic import write_bytes


class Journal:
    """metrics.jsonl and its like: append-only; what was appended survives a kill."""

    def __init__(self, path, keep: int = 0):
        """Open the journal with its first `keep` records; later ones, of a run that died, are dropped.

        Raises BadInput when the file holds fewer than `keep` records.
        """
        self.path = Path(path)
        lines = _complete_lines(self.path) if keep else []
        if len(lines) < keep:
            raise BadInput(f"{path}: {len(lines)} records where the checkpoint counts {keep}; "
                           "the file was changed after the run stopped")
        write_bytes(self.path, b"".join(lines[:keep]))
        self.records = keep
        try:
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except OSError as error:
            raise CannotCreate(f"{path}: cannot be opened for writing ({error.strerror})") from error

    def append(self, record: dict) -> None:
        """Add one record; NaN and infinities become null, so that every line is JSON."""
        line = (json.dumps(_finite(record), allow_nan=False) + "\n").encode()
        try:
            written = os.write(self._descriptor, line)
        except OSError as error:
            raise InputOutputError(f"{self.path}: writing failed ({error.strerror}); free some space") from error
        if written < len(line):
            raise InputOutputError(f"{self.path}: disk full; free some space")
        self.records += 1

    def close(self) -> None:
        """Close the file; no more records can be added."""
        os.close(self._descriptor)

    def __enter__(self):
        """The journal itself."""
        return self

    def __exit__(self, *exception):
        """Close."""
        self.close()


def read_records(path) -> list[dict]:
    """All complete records of a journal; a last line cut short by a kill is left out."""
    return [json.loads(line) for line in _complete_lines(Path(path))]


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
