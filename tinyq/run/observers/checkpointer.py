"""Save checkpoints while a run trains; on a signal, save one and stop the run."""
import time
from pathlib import Path

from tinyq.files.atomic import NotSynced
from tinyq.run import checkpoint
from tinyq.run.build import Job, steps_are_used_up
from tinyq.run.checkpoint import Position
from tinyq.run.observers.best_effort import BestEffort
from tinyq.run.observers.observer import Observer
from tinyq.run.observers.signals import StopRequest
from tinyq.run.phases import Phase
from tinyq.saved.model_file import check_finite


class Checkpointer(Observer):
    """Save at the end of each epoch, every `checkpoint_minutes`, when the run's steps are used up and on a signal.

    Comes after all other observers: a checkpoint refers to what they have recorded.
    """

    def __init__(self, observers: Observer, request: StopRequest):
        """observers: all of the run's, to notify and to sync before a checkpoint is written."""
        self._observers, self._request = observers, request

    def begin(self, job: Job, folder: Path, position: Position) -> None:
        """Start the time to the first checkpoint."""
        self._job, self._folder, self._attempt = job, folder, BestEffort(self.log)
        self._saved_at = time.monotonic()

    def end_step(self, phase: Phase, position: Position, objective: float) -> None:
        """Save where it is due; Stopped if a signal has come."""
        self._stop_if_asked(phase, position)
        if steps_are_used_up(self._job, position) or self._is_due():
            self._save(phase, position)

    def measuring(self, phase: Phase, position: Position) -> None:
        """Save and raise Stopped if a signal has come."""
        self._stop_if_asked(phase, position)

    def end_epoch(self, phase: Phase, epoch: int, position: Position, metrics: dict) -> None:
        """Save; Stopped if a signal has come."""
        self._save(phase, position, metrics.get(f"validation_{self._job.loss.task.best}"))
        self._request.check(self._folder, position.steps)

    def _stop_if_asked(self, phase: Phase, position: Position) -> None:
        if self._request.number is not None:
            self._save(phase, position)
            self._request.check(self._folder, position.steps)

    def _is_due(self) -> bool:
        minutes = self._job.config.checkpoint_minutes
        return bool(minutes) and time.monotonic() - self._saved_at >= 60 * minutes

    def _save(self, phase: Phase, position: Position, figure: float | None = None) -> None:
        """Write a checkpoint; figure: by which the epoch that ends here is compared with the best one."""
        best = position.best_steps, position.best_figure
        if figure is not None and self._job.loss.task.better(figure, best[1]):
            position.best_steps, position.best_figure = position.steps, figure
        self._is_recorded = False
        if self._attempt(lambda: self._write(phase, position)):
            self._attempt(lambda: checkpoint.remove_old(self._folder / "checkpoints", position))
        elif not self._is_recorded:
            position.best_steps, position.best_figure = best
        self._saved_at = time.monotonic()

    def _write(self, phase: Phase, position: Position) -> None:
        check_finite(self._job.model.state_dict())
        states = checkpoint.states_of(self._job.model, phase)
        self._observers.checkpoint(position, states)
        self._observers.sync()
        position.ledger_head = self._observers.head
        position.skipped = self._job.bundle.skipped_samples()
        folder = self._folder / "checkpoints"
        try:
            path = checkpoint.save(folder, position, states)
        except NotSynced:                       # the file exists, and lasts unless the power fails
            self._record(checkpoint.path_of(folder, position.steps), position)
            raise
        self._record(path, position)

    def _record(self, path: Path, position: Position) -> None:
        self._observers.saved(path, position)
        self._is_recorded = True
