"""A file of JSON records, one a line, each on its way to the disk before the next is made."""
import json
import math
from pathlib import Path

from tinyq.errors import BadInput
from tinyq.files.lines import Lines, read_lines


class Journal:
    """metrics.jsonl and its like: append-only; what was appended survives a kill, what was synced a power cut."""

    def __init__(self, path, keep: int = 0):
        """Open the journal with its first `keep` records; later ones, of a run that died, are dropped.

        Raises BadInput when the file holds fewer than `keep` records.
        """
        self.path, self.records = Path(path), keep
        lines = read_lines(path) if keep else []
        if len(lines) < keep:
            raise BadInput(f"{path}: {len(lines)} records where the checkpoint counts {keep}; "
                           "the file was changed after the run stopped")
        self._lines = Lines(path, b"".join(lines[:keep]))

    def append(self, record: dict) -> None:
        """Add one record; NaN and infinities become null, so that every line is JSON.

        Raises InputOutputError when the disk takes no more; the record is kept, and written before the next.
        """
        self.records += 1
        self._lines.add((json.dumps(_finite(record), allow_nan=False) + "\n").encode())

    def sync(self) -> None:
        """See to it that every record so far survives a power cut; InputOutputError when that fails."""
        self._lines.sync()

    def close(self) -> None:
        """Close the file; no more records can be added."""
        self._lines.close()

    def __enter__(self):
        """The journal itself."""
        return self

    def __exit__(self, *exception):
        """Close."""
        self.close()


def read_records(path) -> list[dict]:
    """All whole records of a journal; a line that is none, cut short by a kill or damaged since, is left out."""
    return [record for line in read_lines(path) if (record := _record(line)) is not None]


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
