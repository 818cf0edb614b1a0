"""Compare metrics.jsonl with the ledger, record by record, without keeping either."""
import json
import math
from collections.abc import Iterator
from pathlib import Path

from tinyq.audit.ledger.hash_chain import Line
from tinyq.audit.verification.invariants import MALFORMED
from tinyq.files.lines import lines_of
from tinyq.saved.run_folder import METRICS_FILE

UNAUDITED = ("seconds",)
MAX_FAULTS = 3


class MetricsComparison:
    """Compare each record of metrics.jsonl with the record of the ledger that it repeats."""

    def __init__(self, run: Path):
        """Open metrics.jsonl; a missing one has no records."""
        self.faults: list[str] = []
        self.compared = 0
        path = run / METRICS_FILE
        self._records = _records(path) if path.is_file() else iter(())
        self._next = next(self._records, None)

    def add(self, line: Line) -> None:
        """Compare with the next line of the ledger."""
        try:
            self._examine(line)
        except MALFORMED as error:
            self._fault(f"line {line.number} of the ledger cannot be compared with {METRICS_FILE} ({error})")

    def _examine(self, line):
        record = line.record
        if line.kind == "step":
            if self._is_next("step", record["step"]):
                self._compare(line, _of_step(record))
        elif line.kind == "epoch" or line.kind == "float" and "test_accuracy" in record:
            expected = _of_epoch(record) if line.kind == "epoch" else _of_float(record)
            if self._is_next(line.kind, record["step"]):
                self._compare(line, expected)
            else:
                self._fault(f"{METRICS_FILE}: lacks the {line.kind} record of line {line.number} of the ledger")

    def finish(self, is_finished: bool) -> None:
        """Note records that the ledger does not have; a killed run may have written one before the ledger's."""
        left = [record for record in (self._next, *self._records) if record is not None]
        if len(left) > (0 if is_finished else 1):
            self._fault(f"{METRICS_FILE}: has {len(left)} records that are not in the ledger")

    def _is_next(self, kind, step):
        return self._next is not None and self._next.get("record") == kind and self._next.get("step") == step

    def _compare(self, line, expected):
        found = {key: value for key, value in (self._next or {}).items() if key not in UNAUDITED}
        differing = [key for key in {**found, **expected} if found.get(key) != expected.get(key)]
        if differing:
            self._fault(f"{METRICS_FILE}: differs from line {line.number} of the ledger in {', '.join(differing)}")
        self.compared += 1
        self._next = next(self._records, None)

    def _fault(self, fault):
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(fault)


def _records(path: Path) -> Iterator[dict]:
    """Yield the records; {} stands for a line that is not one."""
    for line in lines_of(path):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        yield record if isinstance(record, dict) else {}


def _of_step(record):
    return {"record": "step", "phase": record["phase"], "epoch": record["epoch"], "step": record["step"],
            "objective": number_of(record["metrics"]["objective"]), "lr": number_of(record["lr"][0])}


def _of_epoch(record):
    measured = {key: number_of(value) for key, value in record["measured"].items()}
    return {"record": "epoch", "phase": record["phase"], "epoch": record["epoch"], "step": record["step"], **measured}


def _of_float(record):
    return {"record": "float", "step": record["step"], "test_accuracy": number_of(record["test_accuracy"])}


def number_of(value: object) -> object:
    """Return the number that a ledger writes as hexadecimal text, None for one that is not finite."""
    if not isinstance(value, str):
        return value
    number = float.fromhex(value)
    return number if math.isfinite(number) else None
