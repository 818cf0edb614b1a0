"""Read the ledgers of two runs side by side, one record at a time, up to the first record at which they part."""
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from tinyq.audit.compare.record_differences import differences_of, differing_values
from tinyq.audit.ledger.digests import KINDS
from tinyq.audit.ledger.hash_chain import FIXED, Line
from tinyq.audit.ledger.records import UNAUDITED_FIGURES, records_of
from tinyq.audit.methods.method_audit import Record
from tinyq.errors import BadInput
from tinyq.output.counting import counted


@dataclass
class TwoRuns:
    """The result of a comparison.

    settings, data, environment: differences of the first records. counts: equal records by kind. where, differences:
    the first record at which the runs part, and what differs there; "" and [] for none. step: its number, if it is a
    step of both runs.
    """

    a: Path
    b: Path
    settings: list[str]
    data: list[str]
    environment: list[str]
    counts: Counter[str] = field(default_factory=Counter)
    where: str = ""
    differences: list[str] = field(default_factory=list)
    step: int | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """True if every record that depends on settings and data is equal."""
        return not self.where


def compare(a: str | Path, b: str | Path) -> TwoRuns:
    """Compare two runs by their ledgers, without a replay; only one record of each is in memory at a time.

    Raises BadInput where a ledger is missing or the two have digests of different kinds, and AuditMismatch where a
    chain is broken before the runs part.
    """
    ours, theirs = _Side(a), _Side(b)
    first, second = ours.begin, theirs.begin
    if KINDS[first["audit"]] is not KINDS[second["audit"]]:
        raise BadInput(f"{a} and {b} cannot be compared: one has digests of kind {first['audit']}, the other of kind "
                       f"{second['audit']}; train one of them again with the other's --audit")
    settings, data, environment = (list(differing_values(first[key], second[key]))
                                   for key in ("settings", "data", "environment"))
    found = TwoRuns(ours.run, theirs.run, settings, data, environment)
    tensors: list[str] = []
    buffers: list[str] = []
    for x, y in zip_longest(ours.fixed(), theirs.fixed()):
        if x is None or y is None:
            _note_end(found, x, y, ours, theirs)
            return found
        if x["record"] == "phase":
            tensors, buffers = list(x["tensors"]), list(x["buffers"])
        if differences := differences_of(x, y, tensors, buffers):
            ours.confirm()
            theirs.confirm()
            found.where, found.differences = _place(x), differences
            found.step = x["step"] if x["record"] == y["record"] == "step" and x["step"] == y["step"] else None
            return found
        found.counts[x["record"]] += 1
    _compare_results(found, ours, theirs)
    return found


def as_lines(found: TwoRuns) -> list[str]:
    """Return the result as lines; the last one says whether the runs are equal."""
    lines = [f"{what}: {text}" for what, texts in (("settings", found.settings), ("data", found.data),
                                                   ("environment", found.environment)) for text in texts]
    counts = ", ".join(counted(number, f"{kind} record") for kind, number in found.counts.items()) or "none"
    lines.append(f"equal: {counts}")
    if found.equal:
        return [*lines, *found.notes, "the runs are equal: every digest and every metric agrees"]
    cause, *more = found.differences
    return [*lines, f"the runs part at {found.where}", f"  first: {cause}", *(f"  then: {text}" for text in more)]


def as_json(found: TwoRuns) -> Record:
    """Return the result for JSON."""
    return {"equal": found.equal, "a": str(found.a), "b": str(found.b), "settings": found.settings, "data": found.data,
            "environment": found.environment, "records": dict(found.counts), "where": found.where,
            "differences": found.differences, "notes": found.notes}


class _Side:
    """One ledger, read once: its first record, and the last `end` and `result` passed on the way."""

    def __init__(self, run):
        self.run, self.steps, self.results = Path(run), 0, dict[str, Record]()
        self._lines: Iterator[Line] = records_of(run)
        self.begin = next(self._lines).record

    def fixed(self) -> Iterator[Record]:
        """Yield the records that depend on settings and data alone."""
        for line in self._lines:
            if line.kind in FIXED:
                self.steps = line.record["step"]
                yield line.record
            elif line.kind in ("end", "result"):
                self.results[line.kind] = line.record

    def confirm(self) -> None:
        """Read one line more: it has the SHA-256 of the line before it, which nothing else confirms."""
        next(self._lines, None)


def _place(record):
    at = {"step": "step", "epoch": "the end of epoch"}.get(record["record"])
    number = record["epoch"] if record["record"] == "epoch" else record["step"]
    if at is None:
        return f"the record of {record['record']} {record.get('phase', '')}".rstrip() + f", after step {number}"
    batch = f", epoch {record['epoch']}, batch {record['batch']}" if record["record"] == "step" else ""
    return f"{at} {number} (phase {record['phase']}{batch})"


def _note_end(found, x, y, ours, theirs):
    """One run has no more records: it is a prefix of the other."""
    short, long, name = (ours, theirs, "A") if x is None else (theirs, ours, "B")
    state = "finished" if "end" in short.results else "unfinished"
    found.where = f"the end of {name}, after step {short.steps}"
    found.differences = [f"length: {name} ({state}) has no more records; {'B' if name == 'A' else 'A'} goes on with "
                         f"{_place(y if x is None else x)}"]


def _compare_results(found, ours, theirs):
    """Compare the finished networks and results of two runs whose steps are equal."""
    for kind, what in (("end", "finished"), ("result", "measured")):
        x, y = ours.results.get(kind), theirs.results.get(kind)
        if x is None or y is None:
            lacking = " and ".join(name for name, record in (("A", x), ("B", y)) if record is None)
            found.notes.append(f"note: {lacking} {'are' if ' ' in lacking else 'is'} not {what} yet")
            continue
        differing = list(differing_values(*map(_audited, (x, y))))
        if differing and not found.where:
            found.where, found.differences = f"the record of {kind}", differing
        elif not differing:
            found.counts[kind] += 1


def _audited(record):
    """The compared values of an `end` or `result` record."""
    if record["record"] == "end":
        return {"weights_sha256": record["weights_sha256"]}
    return {key: value for key, value in record["figures"].items() if key not in UNAUDITED_FIGURES}
