"""The records that a run's curves are drawn from: metrics.jsonl, or the ledger's steps of a run without an epoch."""
import json
from collections.abc import Iterator
from pathlib import Path

from tinyq.files.journal import LEDGER_FILE, read_records
from tinyq.files.lines import lines_of
from tinyq.saved.run_folder import METRICS_FILE

MAX_POINTS = 2000                       # of a curve of steps, evenly spread


def curve_records(folder: str | Path) -> list[dict]:
    """Return the records of epochs and steps to draw.

    A run that ended within its first epoch has one for each step on record in its ledger; without a ledger, those of
    `print_freq`. Errors are those of read_records.
    """
    records, ledger = read_records(Path(folder) / METRICS_FILE), Path(folder) / LEDGER_FILE
    if any(record.get("record") == "epoch" for record in records) or not ledger.is_file():
        return records
    steps = list(_steps(ledger))
    return steps[::-(-len(steps) // MAX_POINTS) or 1] or records


def _steps(ledger: Path) -> Iterator[dict]:
    """Yield step and objective of the ledger's steps; what is malformed is left out, and found by an audit."""
    for line in lines_of(ledger):
        try:
            record = json.loads(line)
            if record["record"] == "step":
                yield {"record": "step", "step": record["step"],
                       "objective": float.fromhex(record["metrics"]["objective"])}
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            continue
