"""Compare metrics.jsonl with the ledger, record by record, without keeping either."""
import json
from collections.abc import Iterator
from pathlib import Path

from tinyq.audit.ledger.hash_chain import Line, differing_keys
from tinyq.audit.ledger.records import number_of
from tinyq.audit.verification.invariants import MALFORMED
from tinyq.files.journal import encode
from tinyq.files.lines import lines_of
from tinyq.saved.run_folder import METRICS_FILE

UNAUDITED = ("seconds",)
MAX_FAULTS = 3


class MetricsComparison:
    """Compare each record of metrics.jsonl with the record of the ledger that it repeats."""

    def __init__(self, run: Path):
        """Open metrics.jsonl."""
        self.faults: list[str] = []
        self.compared = self._size = 0
        self._every = 0                         # steps per record of a step, 0 for none
        self._missing: Line | None = None       # a step without its record
        self._path = run / METRICS_FILE
        self._is_there = self._path.is_file()
        self._records = self._read() if self._is_there else iter(())
        self._next = next(self._records, None)

    def add(self, line: Line) -> None:
        """Compare with the next line of the ledger."""
        try:
            if self._is_there:
                self._examine(line)
        except MALFORMED as error:
            self._fault(f"line {line.number} of the ledger cannot be compared with {METRICS_FILE} ({error})")

    def _examine(self, line):
        record = line.record
        self._every = record.get("print_freq", self._every)
        if line.kind == "step":
            self._report_missing()
            if self._is_next("step", record["step"]):
                self._compare(line, _of_step(record))
            elif self._every and record["step"] % self._every == 0:
                self._missing = line
        elif line.kind == "epoch" or line.kind == "float" and "figures" in record:
            expected = _of_epoch(record) if line.kind == "epoch" else _of_float(record)
            self._report_missing()
            if self._is_next(line.kind, record["step"]):
                self._compare(line, expected)
            else:
                self._lacks(line)

    def finish(self, is_finished: bool) -> None:
        """Note what the ledger does not have; a killed run may have one record more or less, and half a line."""
        if not self._is_there:
            self._fault(f"{METRICS_FILE}: is missing")
            return
        left = [record for record in (self._next, *self._records) if record is not None]
        if len(left) > (0 if is_finished else 1):
            self._fault(f"{METRICS_FILE}: has {len(left)} records that are not in the ledger")
        if is_finished:
            self._report_missing()
            if self._size != self._path.stat().st_size:
                self._fault(f"{METRICS_FILE}: ends within a line")

    def _report_missing(self):
        if self._missing:
            self._lacks(self._missing)
        self._missing = None

    def _lacks(self, line):
        self._fault(f"{METRICS_FILE}: lacks the {line.kind} record of line {line.number} of the ledger")

    def _is_next(self, kind, step):
        return self._next is not None and self._next.get("record") == kind and self._next.get("step") == step

    def _compare(self, line, expected):
        found = {key: value for key, value in (self._next or {}).items() if key not in UNAUDITED}
        if differing := differing_keys(found, expected):
            self._fault(f"{METRICS_FILE}: differs from line {line.number} of the ledger in {', '.join(differing)}")
        self.compared += 1
        self._next = next(self._records, None)

    def _read(self) -> Iterator[dict]:
        for line in lines_of(self._path):
            self._size += len(line)
            yield _record_of(line)

    def _fault(self, fault):
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(fault)


def _record_of(line: bytes) -> dict:
    """Return the record of a line; {} where it is none, or is not written as tinyq writes it."""
    try:
        record = json.loads(line)
        return record if isinstance(record, dict) and encode(record) == line else {}
    except (ValueError, RecursionError):
        return {}


def _of_step(record):
    return {"record": "step", "phase": record["phase"], "epoch": record["epoch"], "step": record["step"],
            "objective": number_of(record["metrics"]["objective"]), "lr": number_of(record["lr"][0])}


def _of_epoch(record):
    measured = {key: number_of(value) for key, value in record["measured"].items()}
    return {"record": "epoch", "phase": record["phase"], "epoch": record["epoch"], "step": record["step"], **measured}


def _of_float(record):
    return {"record": "float", "step": record["step"],
            **{f"test_{name}": number_of(value) for name, value in record["figures"].items()}}
