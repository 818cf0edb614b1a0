"""The metrics of a run on disk: metrics.jsonl, one record per epoch, and with --print-freq N one per N steps.

With --tensorboard, an event file repeats them.
"""
from functools import partial
from pathlib import Path

from tinyq.files.atomic import remove
from tinyq.files.journal import Journal, read_records
from tinyq.run.build import Job
from tinyq.run.checkpoint import Position
from tinyq.run.observers.best_effort import BestEffort
from tinyq.run.observers.observer import Observer
from tinyq.run.observers.tensorboard import EVENTS_FILE, Events
from tinyq.run.phases import Phase
from tinyq.saved.run_folder import METRICS_FILE


def step_record(phase: Phase, position: Position, objective: float) -> dict:
    """Return the record of the step that was just counted."""
    metrics = {"objective": objective, "lr": phase.optimizer.groups[0]["lr"]}
    return _record("step", phase, phase.epoch_number(position.epoch), position, metrics)


def epoch_record(phase: Phase, epoch: int, position: Position, metrics: dict) -> dict:
    """Return the record of a finished epoch."""
    return _record("epoch", phase, epoch, position, metrics)


def _record(kind: str, phase: Phase, epoch: int, position: Position, metrics: dict) -> dict:
    return {"record": kind, "phase": phase.name, "epoch": epoch, "step": position.steps, **metrics,
            "seconds": round(position.seconds, 3)}


class MetricsJournal(Observer):
    """Append the records to metrics.jsonl; a disk that refuses them does not stop the run."""

    def begin(self, job: Job, folder: Path, position: Position) -> None:
        """Open the journal behind the records that the position counts."""
        self._every, self._attempt = job.config.print_freq, BestEffort(self.log)
        self._journal = Journal(folder / METRICS_FILE, keep=position.records)
        self._events: Events | None = None
        if job.config.tensorboard:
            self._events = Events(folder / EVENTS_FILE, read_records(folder / METRICS_FILE))
        else:                                   # of a part of the run that had them
            remove(folder / EVENTS_FILE)
        self._open = True

    def end_step(self, phase: Phase, position: Position, objective: float) -> None:
        """Record every `print_freq`-th step."""
        if self._every and position.steps % self._every == 0:
            self.append(position, step_record(phase, position, objective))

    def end_epoch(self, phase: Phase, epoch: int, position: Position, metrics: dict) -> None:
        """Record the epoch."""
        self.append(position, epoch_record(phase, epoch, position, metrics))

    def append(self, position: Position, record: dict) -> None:
        """Add a record and count it in the position."""
        self._attempt(lambda: self._journal.append(record))
        if self._events is not None:
            self._attempt(partial(self._events.append, record))
        position.records = self._journal.records

    def sync(self) -> None:
        """Make all records survive a power cut, so that a checkpoint never counts records that are lost."""
        if self._open:
            self._journal.sync()
            if self._events is not None:
                self._events.sync()

    def finish(self, position: Position, state: dict) -> dict:
        """Close the journal: no record follows."""
        self.close()
        return {}

    def close(self) -> None:
        """Close the journal if it is open."""
        if getattr(self, "_open", False):
            self._open = False
            self._journal.close()
            if self._events is not None:
                self._events.close()
