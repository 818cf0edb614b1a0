"""Training time of a run, resumed parts included."""
import time
from pathlib import Path

from tinyq.run.build import Job
from tinyq.run.checkpoint import Position
from tinyq.run.observers.observer import Observer
from tinyq.run.phases import Phase


class Stopwatch(Observer):
    """Count `position.seconds`; comes before the observers that store or show them."""

    def begin(self, job: Job, folder: Path, position: Position) -> None:
        """Start the clock."""
        self._at = time.monotonic()

    def end_step(self, phase: Phase, position: Position, objective: float) -> None:
        """Add the time since the last event."""
        self._count(position)

    def measuring(self, phase: Phase, position: Position) -> None:
        """Add the time since the last event."""
        self._count(position)

    def end_epoch(self, phase: Phase, epoch: int, position: Position, metrics: dict) -> None:
        """Add the time since the last event."""
        self._count(position)

    def _count(self, position: Position) -> None:
        now = time.monotonic()
        position.seconds += now - self._at
        self._at = now
