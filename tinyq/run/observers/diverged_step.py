"""A step that made a NaN or an infinity, in a file from which it can be repeated."""
from collections.abc import Sequence
from pathlib import Path

from tinyq.data import Batch
from tinyq.errors import CannotCreate, InputOutputError
from tinyq.run import checkpoint
from tinyq.run.build import Job
from tinyq.run.checkpoint import Position
from tinyq.run.observers.observer import Observer
from tinyq.run.phases import Phase

STEP_FILE = "diverged.h5"


class DivergedStep(Observer):
    """Save the state before the step and its batches as a checkpoint that `checkpoint.load` reads.

    Batch i is "batch": {"i/x", "i/y", "i/indices"}. The running statistics of batch norm, which a training step does
    not read, have seen the step already.
    """

    def begin(self, job: Job, folder: Path, position: Position) -> None:
        """Store the run."""
        self._job, self._folder = job, folder

    def diverged(self, phase: Phase, position: Position, batches: Sequence[Batch]) -> str | None:
        """Write the file; returns where it is, or why there is none."""
        path = self._folder / STEP_FILE
        arrays = {f"{i}/{name}": getattr(batch, name) for i, batch in enumerate(batches) for name in batch._fields}
        try:
            checkpoint.write(path, position, {**checkpoint.states_of(self._job.model, phase), "batch": arrays})
        except (CannotCreate, InputOutputError) as error:
            return f"the step could not be saved: {error}"
        return f"the step is saved in {path}"
