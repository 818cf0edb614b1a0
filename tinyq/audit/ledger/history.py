"""Summarise the ledger of a run in one pass; the summary does not grow with the number of steps."""
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tinyq.audit.ledger.hash_chain import FIXED, Line
from tinyq.audit.ledger.records import checkpoint_file, number_of, records_of, task_of_record
from tinyq.tasks.task import Task

Record = dict
Best = tuple[int, float] | None         # steps and the task's best validation figure at the end of an epoch
MAX_NOTED = 100                         # exceptions and failed checks kept in full; the rest are counted


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The record of a checkpoint."""

    line: Line
    w: str                              # digest of the weights, in the step or epoch before
    best: Best                          # of its phase so far
    epochs: int                         # of the method that the run had then

    @property
    def step(self) -> int:
        """The steps of the run before it."""
        return self.line.record["step"]


@dataclass
class History:
    """Summary of the records of a ledger, except those of single steps."""

    run: Path
    begin: Line
    last: Line
    counts: Counter[str] = field(default_factory=Counter)           # of records by kind
    steps: int = 0                                                  # number of the last step
    phases: list[Record] = field(default_factory=list)
    floats: list[Record] = field(default_factory=list)
    epochs: list[Record] = field(default_factory=list)
    checkpoints: dict[str, Checkpoint] = field(default_factory=dict)        # by head, in the ledger's order
    resumes: list[Record] = field(default_factory=list)
    extensions: list[Record] = field(default_factory=list)          # one per step: the last
    exceptions: list[Record] = field(default_factory=list)          # at most MAX_NOTED
    failed_checks: list[Record] = field(default_factory=list)       # at most MAX_NOTED
    files: dict[str, Record] = field(default_factory=dict)          # the last record of each
    since_resume: set[str] = field(default_factory=set)             # files recorded since then
    end: Line | None = None                                         # the last one
    result: Line | None = None                                      # the last one, which belongs to it
    at_end: Checkpoint | None = None                                # the checkpoint of the state that `end` is made of
    superseded_ends: int = 0
    w: str = ""                                                     # digest of the weights in the last fixed record
    newest: Checkpoint | None = None                                # since the last fixed record
    best: Best = None                                               # of the phase, as a checkpoint on the disk names it
    best_now: Best = None                                           # as the next checkpoint names it

    def add(self, line: Line) -> None:
        """Add the next line to the summary."""
        self.last = line
        self.counts[line.kind] += 1
        if line.kind in FIXED:
            self.w, self.newest = line.record.get("w", self.w), None
        _ADD.get(line.kind, _ignore)(self, line)

    @property
    def planned_epochs(self) -> int:
        """Epochs of the method, as extended last."""
        return self.extensions[-1]["epochs"] if self.extensions else self.begin.record["settings"].get("epochs", 0)

    @property
    def task(self) -> Task:
        """The task of the run."""
        return task_of_record(self.begin.record)

    def first_line_after(self, checkpoint: Checkpoint | None) -> Line:
        """Return the line of the checkpoint, or of record 0 for None: the records after it come next."""
        return checkpoint.line if checkpoint else self.begin


def read_history(run: str | Path, also: Callable[[Line], None] = lambda line: None) -> History:
    """Read a run's ledger once; also: called with each line. Errors are those of records_of."""
    lines = records_of(run)
    first = next(lines)
    history = History(Path(run), first, first)
    history.add(first)
    also(first)
    for line in lines:
        history.add(line)
        also(line)
    return history


def _add_phase(history: History, line: Line) -> None:
    history.phases.append(line.record)
    history.best = history.best_now = None


def _add_step(history: History, line: Line) -> None:
    history.steps, history.best_now = line.record["step"], history.best


def _add_epoch(history: History, line: Line) -> None:
    history.epochs.append(line.record)
    figure = number_of(line.record["measured"].get(f"validation_{history.task.best}"))
    history.best_now = history.best
    if isinstance(figure, float) and history.task.better(figure, history.best[1] if history.best else None):
        history.best_now = line.record["step"], figure


def _add_checkpoint(history: History, line: Line) -> None:
    history.newest = history.checkpoints[line.head] = Checkpoint(line, history.w, history.best_now,
                                                                          history.planned_epochs)


def _add_file(history: History, line: Line) -> None:
    history.files[line.record["file"]] = line.record
    if history.newest and line.record["file"] == checkpoint_file(history.newest.step):
        history.best = history.best_now = history.newest.best
    history.since_resume.add(line.record["file"])


def _add_resume(history: History, line: Line) -> None:
    history.resumes.append(line.record)
    history.best = history.best_now = history.newest.best if history.newest else history.best
    history.since_resume.clear()


def _add_extension(history: History, line: Line) -> None:
    if history.extensions and history.extensions[-1]["step"] == line.record["step"]:
        history.extensions.pop()                # a run that was killed as it was extended
    history.extensions.append(line.record)


def _add_exception(history: History, line: Line) -> None:
    if len(history.exceptions) < MAX_NOTED:
        history.exceptions.append(line.record)


def _add_check(history: History, line: Line) -> None:
    if line.record["faults"] and len(history.failed_checks) < MAX_NOTED:
        history.failed_checks.append(line.record)


def _add_end(history: History, line: Line) -> None:
    history.superseded_ends += history.end is not None
    history.end, history.result, history.at_end = line, None, history.newest


def _add_result(history: History, line: Line) -> None:
    history.result = line


def _ignore(history: History, line: Line) -> None:
    pass


_ADD: dict[str, Callable[[History, Line], None]] = {
    "float": lambda history, line: history.floats.append(line.record),
    "phase": _add_phase, "step": _add_step, "epoch": _add_epoch,
    "checkpoint": _add_checkpoint, "file": _add_file, "resume": _add_resume,
    "extension": _add_extension,
    "exception": _add_exception, "check": _add_check, "end": _add_end, "result": _add_result,
}
