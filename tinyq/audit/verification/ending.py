"""The end of training follows from the records of epochs: early stopping is derived again, and `ended_by` with it."""
from collections.abc import Iterator

from tinyq.audit.ledger.hash_chain import Line
from tinyq.audit.ledger.records import number_of, task_of_record
from tinyq.output.counting import counted
from tinyq.tasks.task import FIGURE_NAMES

Record = dict


class Ending:
    """Follow a ledger and derive when early stopping ends the run; `faults` yields what contradicts it."""

    def __init__(self, begin: Record):
        """begin: record 0."""
        settings = begin["settings"]
        self._method, self._patience = settings["method"], settings.get("early_stopping", 0)
        self._planned = settings.get("epochs", 0)               # of the method
        self._phase = ""
        self._task = task_of_record(begin)
        self._stale = 0                                         # epochs since the phase's best one
        self._best: float | None = None                         # its figure
        self._epochs = 0                                        # of the phase

    @property
    def stopped(self) -> bool:
        """True after `early_stopping` epochs of the method without a better validation figure."""
        return 0 < self._patience <= self._stale and self._phase == self._method

    def faults(self, line: Line) -> Iterator[str]:
        """Yield the faults of the next record, then move on."""
        record = line.record
        if self.stopped and line.kind in ("phase", "step", "epoch", "extension"):
            yield (f"comes after early stopping had ended the run: {counted(self._patience, 'epoch')} without a "
                   f"better validation {FIGURE_NAMES[self._task.best]}")
        if line.kind == "phase":
            self._phase, self._epochs = record["phase"], 0
            self._stale, self._best = 0, None
        elif line.kind == "epoch":
            self._epochs += 1
            self._count(record["measured"].get(f"validation_{self._task.best}"))
        elif line.kind == "extension":
            self._planned = record["epochs"]
        elif line.kind == "result":
            yield from self._ended_by(record["figures"])

    def _count(self, figure: object) -> None:
        """Count an epoch; figure: its validation figure, None without a validation split."""
        if figure is None:
            return
        number = number_of(figure)
        if isinstance(number, float) and self._task.better(number, self._best):
            self._best, self._stale = number, 0
        else:
            self._stale += 1

    def _ended_by(self, figures: Record) -> Iterator[str]:
        """Yield a fault unless the recorded reason is the one that the records of epochs give."""
        said = figures.get("ended_by")
        all_done = self._phase == self._method and self._epochs >= self._planned
        possible = (["early_stopping"] if self.stopped else ["method", "epochs"] if all_done
                    else ["method", "max_steps"])
        if said not in possible:
            yield f"says that {said} ended the run; its epochs on record end it by {' or '.join(possible)}"
