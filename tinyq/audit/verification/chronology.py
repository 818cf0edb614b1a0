"""The position in a run follows from record to record: phase, epoch, batch and step, and which kind may come next."""
from collections.abc import Callable, Iterator

from tinyq.audit.ledger.hash_chain import FIXED, Line
from tinyq.audit.ledger.records import checkpoint_file
from tinyq.saved.run_folder import BEST_FILE, FLOAT_FILE, MODEL_FILE, PACKED_FILE

Record = dict
FINISHED = (MODEL_FILE, PACKED_FILE, BEST_FILE)                # written after the end, in this order


class Chronology:
    """Follow the position through a ledger; `faults` yields a line for each record that does not follow."""

    def __init__(self, begin: Record):
        """begin: record 0."""
        self.settings = begin["settings"]
        self.accumulate = max(1, self.settings["accumulate"])
        self.phase: Record = {}
        self.before: Record = {}                        # the last record
        self.steps = self.phases = 0
        self.epoch, self.batch = 1, -1                  # of the run; the last step's first batch, -1 before the first
        self.last_fixed, self.since = "begin", set[str]()       # kinds of records since the last fixed one
        self.checked = 0                                # the last step with a check on record
        self.gap = ""                                   # the first step that left batches out
        self.skips = False                              # some image could not be read
        self.ended = False                              # an end is on record, and no resume since
        self.finished = 0                               # files of FINISHED that may not come any more
        self.last_kind = "begin"
        self.epochs = self.had_epochs = self.settings.get("epochs", 0)      # of the method; before its last extension
        self.extended_at = -1                           # the step of that
        self._rules: dict[str, Callable[[Record], Iterator[str]]] = {
            "begin": lambda record: iter(()), "phase": self._phase, "step": self._step, "epoch": self._epoch,
            "float": self._same_step, "checkpoint": self._checkpoint, "resume": self._resume,
            "extension": self._extension, "check": self._check,
            "exception": self._exception, "end": self._end, "file": self._file, "result": self._result}

    def faults(self, line: Line) -> Iterator[str]:
        """Yield the faults of the next record, then move on."""
        record = line.record
        same = {**record, "prev": ""}
        if same == self.before and line.kind != "checkpoint":       # which is repeated where the disk refused the file
            yield "repeats the record before it"
        self.before = same
        if self.ended and line.kind not in ("resume", "file", "result", "exception"):
            yield "follows the end of the run without a resume"
        yield from self._rules[line.kind](record)
        self.last_kind = line.kind
        self.ended = line.kind == "end" or self.ended and line.kind != "resume"
        if line.kind in FIXED:
            self.last_fixed = line.kind
            self.since.clear()
        else:
            self.since = self.since & {"checkpoint"} if line.kind == "resume" else self.since | {line.kind}

    def at_the_end(self) -> Iterator[str]:
        """Yield the faults that only the whole ledger shows."""
        if self.gap and not self.skips:
            yield self.gap

    def _phase(self, record: Record) -> Iterator[str]:
        yield from self._same_step(record)
        if record["epoch"] != self.epoch:
            yield f"the phase begins at epoch {record['epoch']}, after {self.epoch - 1} epochs"
        if self.batch >= 0:
            yield "the phase begins within an epoch"
        self.phase, self.phases = record, self.phases + 1

    def _step(self, record: Record) -> Iterator[str]:
        if not self.phase:
            yield "comes before any phase"
        if record["step"] != self.steps + 1:
            yield f"follows step {self.steps}"
        if record["phase"] != self.phase.get("phase"):
            yield f"is of phase {record['phase']}, within {self.phase.get('phase')}"
        if record["epoch"] != self.epoch:
            yield f"is of epoch {record['epoch']}, within epoch {self.epoch}"
        expected = 0 if self.batch < 0 else self.batch + self.accumulate
        self.skips |= "skipped" in record
        if record["batch"] > expected and (record["batch"] - expected) % self.accumulate == 0:
            self.gap = self.gap or f"step {record['step']} leaves out the batches from {expected} on"
        elif record["batch"] != expected:
            yield f"takes batch {record['batch']}, but batch {expected} is next"
        every = self.settings["audit_every"]
        if every and record["step"] % every == 0 and self.checked != record["step"]:
            yield "has no check on record, which audit_every asks for"
        self.steps, self.batch = record["step"], record["batch"]

    def _epoch(self, record: Record) -> Iterator[str]:
        yield from self._same_step(record)
        if record["phase"] != self.phase.get("phase") or record["epoch"] != self.epoch:
            yield (f"ends epoch {record['epoch']} of {record['phase']}, not epoch {self.epoch} of "
                   f"{self.phase.get('phase')}")
        self.epoch, self.batch = self.epoch + 1, -1

    def _checkpoint(self, record: Record) -> Iterator[str]:
        yield from self._same_step(record)
        place = (record["phases_done"], record["epochs_done"])
        expected = (self.phases - 1, self.epoch - self.phase.get("epoch", 1))
        if place != expected:
            yield f"has {place[0]} phases and {place[1]} epochs of the next done, after {expected[0]} and {expected[1]}"
        if record["batches_done"] > 0 if self.batch < 0 else record["batches_done"] <= self.batch:
            yield f"has {record['batches_done']} batches done, after batch {self.batch}"

    def _resume(self, record: Record) -> Iterator[str]:
        yield from self._same_step(record)
        if "checkpoint" not in self.since:
            yield "resumes where no checkpoint is on record"
        if record["repeated"] < 0 or (record["repeated"] == 0) != (record["head"] == record["prev"]):
            yield f"says that {record['repeated']} records were made again after another head"

    def _extension(self, record: Record) -> Iterator[str]:
        yield from self._same_step(record)
        if self.last_kind not in ("resume", "file"):
            yield "does not follow a resume"
        if record["step"] != self.extended_at:          # else the run was killed as it was extended, and again
            self.extended_at, self.had_epochs = record["step"], self.epochs
        if record["epochs"] <= self.had_epochs:
            yield f"extends the run from {self.had_epochs} epochs to {record['epochs']}"
        self.epochs = record["epochs"]

    def _check(self, record: Record) -> Iterator[str]:
        every = self.settings["audit_every"]
        if record["step"] != self.steps + 1 or not every or record["step"] % every:
            yield f"is a check of step {record['step']}; the next step is {self.steps + 1}, audit_every is {every}"
        self.checked = record["step"]

    def _exception(self, record: Record) -> Iterator[str]:
        if record["step"] != self.steps + 1:
            yield f"follows step {self.steps}"

    def _end(self, record: Record) -> Iterator[str]:
        yield from self._same_step(record)
        if not self.phase:
            yield "ends a run without a phase"
        self.finished = 0

    def _file(self, record: Record) -> Iterator[str]:
        yield from self._same_step(record)
        name = record["file"]
        if name == checkpoint_file(record["step"]):
            follows = "checkpoint" in self.since
        elif name in FINISHED:
            follows = "end" in self.since and FINISHED.index(name) >= self.finished
            self.finished = FINISHED.index(name) + 1
        else:
            follows = name == FLOAT_FILE and self.last_fixed == "float"
        if not follows:
            yield f"records {name}, which no run writes there"

    def _result(self, record: Record) -> Iterator[str]:
        yield from self._same_step(record)
        if "end" not in self.since or "result" in self.since:
            yield "does not follow an end of its own"
        skipped = record["figures"].get("skipped")
        self.skips |= bool(skipped) and any(skipped.values())

    def _same_step(self, record: Record) -> Iterator[str]:
        if record["step"] != self.steps:
            yield f"is at step {record['step']}, after step {self.steps}"
