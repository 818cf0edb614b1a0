"""The end of training follows from the records of epochs: early stopping is derived again, and `ended_by` with it."""
from collections.abc import Iterator

from tinyq.audit.ledger.hash_chain import Line
from tinyq.audit.ledger.records import number_of
from tinyq.output.counting import counted

Record = dict


class Ending:
    """Follow a ledger and derive when early stopping ends the run; `faults` yields what contradicts it."""

    def __init__(self, begin: Record):
        """begin: record 0."""
        settings = begin["settings"]
        self._method, self._patience = settings["method"], settings.get("early_stopping", 0)
        self._planned = settings.get("epochs", 0)               # of the method
        self._phase = ""
        self._accuracies: list[float] = []                      # of the phase's epochs
        self._epochs = 0                                        # of the phase

    @property
    def stopped(self) -> bool:
        """True after `early_stopping` epochs of the method without a better validation accuracy."""
        if not self._patience or self._phase != self._method or not self._accuracies:
            return False
        best = self._accuracies.index(max(self._accuracies))
        return len(self._accuracies) - 1 - best >= self._patience

    def faults(self, line: Line) -> Iterator[str]:
        """Yield the faults of the next record, then move on."""
        record = line.record
        if self.stopped and line.kind in ("phase", "step", "epoch", "extension"):
            yield (f"comes after early stopping had ended the run: {counted(self._patience, 'epoch')} without a "
                   "better validation accuracy")
        if line.kind == "phase":
            self._phase, self._epochs = record["phase"], 0
            self._accuracies.clear()
        elif line.kind == "epoch":
            self._epochs += 1
            accuracy = number_of(record["measured"].get("validation_accuracy"))
            self._accuracies += [accuracy] if isinstance(accuracy, float) else []
        elif line.kind == "extension":
            self._planned = record["epochs"]
        elif line.kind == "result":
            yield from self._ended_by(record["figures"])

    def _ended_by(self, figures: Record) -> Iterator[str]:
        """Yield a fault unless the recorded reason is the one that the records of epochs give."""
        said = figures.get("ended_by")
        all_done = self._phase == self._method and self._epochs >= self._planned
        possible = (["early_stopping"] if self.stopped else ["method", "epochs"] if all_done
                    else ["method", "max_steps"])
        if said not in possible:
            yield f"says that {said} ended the run; its epochs on record end it by {' or '.join(possible)}"
