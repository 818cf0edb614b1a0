"""Define the events of a run and their receivers."""
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from tinyq.data import Batch
from tinyq.output.terminal import say, tell_once
from tinyq.run.build import Job
from tinyq.run.checkpoint import Position
from tinyq.run.phases import Phase


def log(*lines: str) -> None:
    """Print lines and flush. A full disk behind standard output does not stop training; a broken pipe does."""
    try:
        say(*lines)
    except BrokenPipeError:
        raise
    except OSError as error:
        tell_once(f"tinyq: standard output: {error.strerror}; lines are lost, training continues")


class Observer:
    """Receiver of every event of a run; it may raise to stop the run, and must not change what is trained.

    This base class ignores all events.

    head: the digest of everything received so far, which checkpoints and model.h5 store; None for an observer that
    keeps no record. log: prints lines for the user.
    """

    head: str | None = None
    log: Callable[..., None] = staticmethod(log)

    def begin(self, job: Job, folder: Path, position: Position) -> None:
        """A run starts in its folder, or resumes from a position other than the first."""

    def before_phase(self, phase: Phase, position: Position) -> None:
        """A phase starts; its method has not touched the network yet. Not sent when a run resumes inside a phase."""

    def begin_phase(self, phase: Phase, position: Position, resumed: bool) -> None:
        """The phase's method has begun; `resumed` if it continues from a checkpoint taken inside the phase."""

    def step(self, phase: Phase, position: Position, batches: Sequence[Batch]) -> AbstractContextManager[None]:
        """Return a context that surrounds the method's step on these batches; the position is the one before it."""
        return _nothing()

    def end_step(self, phase: Phase, position: Position, objective: float) -> None:
        """A step is done and counted in the position."""

    def diverged(self, phase: Phase, position: Position, batches: Sequence[Batch]) -> str | None:
        """A step made a NaN or an infinity. Returns a clause for the error message, or None."""

    def measuring(self, phase: Phase, position: Position) -> None:
        """The network is about to be measured on one more batch of validation or test samples."""

    def end_epoch(self, phase: Phase, epoch: int, position: Position, metrics: dict) -> None:
        """Epoch number `epoch` of the run is over; the position is the beginning of the next one."""

    def sync(self) -> None:
        """Make everything received so far survive a power cut; InputOutputError when that fails.

        Called before a file is written that stores `head`.
        """

    def check_resume(self, folder: Path, position: Position, states: dict[str, dict]) -> None:
        """A run is about to resume from this checkpoint, and nothing is written yet; AuditMismatch refuses it."""

    def check_extension(self, folder: Path, position: Position) -> None:
        """A run is about to be extended from this checkpoint, and nothing is written yet; UsageError refuses it."""

    def extended(self, position: Position) -> None:
        """The run goes on for more epochs than it had: those of position.made_with."""

    def checkpoint(self, position: Position, states: dict[str, dict]) -> None:
        """A checkpoint of these states is about to be written."""

    def measured_float(self, position: Position, state: dict, figures: dict | None) -> None:
        """The float network that the last phase starts from has this state, {name: array}, and test figures."""

    def measured(self, position: Position, figures: dict) -> None:
        """The finished network was saved and measured; figures: of result.json."""

    def saved(self, path: Path, position: Position) -> None:
        """A checkpoint or a weight file was written."""

    def finish(self, position: Position, state: dict) -> dict:
        """Training is over and the network is `state`, {name: array}. Returns attributes for model.h5."""
        return {}

    def close(self) -> None:
        """The run has ended, with or without an error."""


class Observers(Observer):
    """Pass each event to several observers, in their order."""

    def __init__(self, observers: Iterable[Observer]):
        """Store the observers; more may be appended to `observers` before the run begins."""
        self.observers = list(observers)

    @property
    def head(self) -> str | None:                                           # type: ignore[override]
        """The head of the first observer that has one."""
        return next((observer.head for observer in self.observers if observer.head is not None), None)

    def begin(self, job: Job, folder: Path, position: Position) -> None:
        """Send the event to each observer."""
        for observer in self.observers:
            observer.begin(job, folder, position)

    def before_phase(self, phase: Phase, position: Position) -> None:
        """Send the event to each observer."""
        for observer in self.observers:
            observer.before_phase(phase, position)

    def begin_phase(self, phase: Phase, position: Position, resumed: bool) -> None:
        """Send the event to each observer."""
        for observer in self.observers:
            observer.begin_phase(phase, position, resumed)

    @contextmanager
    def step(self, phase: Phase, position: Position, batches: Sequence[Batch]) -> Iterator[None]:
        """Enter the contexts of all observers."""
        with ExitStack() as stack:
            for observer in self.observers:
                stack.enter_context(observer.step(phase, position, batches))
            yield

    def end_step(self, phase: Phase, position: Position, objective: float) -> None:
        """Send the event to each observer."""
        for observer in self.observers:
            observer.end_step(phase, position, objective)

    def diverged(self, phase: Phase, position: Position, batches: Sequence[Batch]) -> str | None:
        """Join the clauses of all observers."""
        clauses = [observer.diverged(phase, position, batches) for observer in self.observers]
        return "; ".join(filter(None, clauses)) or None

    def measuring(self, phase: Phase, position: Position) -> None:
        """Send the event to each observer."""
        for observer in self.observers:
            observer.measuring(phase, position)

    def end_epoch(self, phase: Phase, epoch: int, position: Position, metrics: dict) -> None:
        """Send the event to each observer."""
        for observer in self.observers:
            observer.end_epoch(phase, epoch, position, metrics)

    def sync(self) -> None:
        """Send the event to each observer."""
        for observer in self.observers:
            observer.sync()

    def check_resume(self, folder: Path, position: Position, states: dict[str, dict]) -> None:
        """Send the event to each observer."""
        for observer in self.observers:
            observer.check_resume(folder, position, states)

    def check_extension(self, folder: Path, position: Position) -> None:
        """Send the event to each observer."""
        for observer in self.observers:
            observer.check_extension(folder, position)

    def extended(self, position: Position) -> None:
        """Send the event to each observer."""
        for observer in self.observers:
            observer.extended(position)

    def checkpoint(self, position: Position, states: dict[str, dict]) -> None:
        """Send the event to each observer."""
        for observer in self.observers:
            observer.checkpoint(position, states)

    def measured_float(self, position: Position, state: dict, figures: dict | None) -> None:
        """Send the event to each observer."""
        for observer in self.observers:
            observer.measured_float(position, state, figures)

    def measured(self, position: Position, figures: dict) -> None:
        """Send the event to each observer."""
        for observer in self.observers:
            observer.measured(position, figures)

    def saved(self, path: Path, position: Position) -> None:
        """Send the event to each observer."""
        for observer in self.observers:
            observer.saved(path, position)

    def finish(self, position: Position, state: dict) -> dict:
        """Merge the attributes of all observers."""
        attributes = {}
        for observer in self.observers:
            attributes.update(observer.finish(position, state))
        return attributes

    def close(self) -> None:
        """Send the event to each observer."""
        for observer in self.observers:
            observer.close()


@contextmanager
def _nothing() -> Iterator[None]:
    yield
