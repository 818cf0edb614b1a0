"""The progress of a run: one bar on a terminal, plain lines in a pipe."""
import sys
from collections.abc import Callable

from tqdm import tqdm

from tinyq.methods.base import Column
from tinyq.output.terminal import say, tell_once
from tinyq.run.build import Job, Phase
from tinyq.run.checkpoint import Position
from tinyq.run.observers.metrics_journal import epoch_record, step_record
from tinyq.run.observers.observer import Observer

# Metrics of every method that a line shows; the method's own columns come after these.
COLUMNS = (Column("objective", "objective", "{:.4f}"), Column("loss", "loss", "{:.4f}"),
           Column("error", "error", "{:.2%}"), Column("validation_error", "validation", "{:.2%}"),
           Column("test_error", "test", "{:.2%}"), Column("lr", "lr", "{:.2g}"))


class Progress(Observer):
    """Show steps and epochs as they end; `bar` is None where lines go to standard output."""

    def __init__(self, total_epochs: int, steps_per_epoch: int, steps_done: int = 0, print_freq: int = 0,
                 terminal: bool | None = None) -> None:
        """print_freq: print every N-th step too, 0 for none. terminal: True to draw a bar; None asks standard error."""
        self.total_epochs, self.print_freq = total_epochs, print_freq
        terminal = sys.stderr.isatty() if terminal is None else terminal
        total = total_epochs * steps_per_epoch
        self.bar = tqdm(total=total, initial=steps_done, unit="step", dynamic_ncols=True) if terminal else None
        self.log = self._log
        self.columns: tuple[Column, ...] = COLUMNS

    @classmethod
    def of(cls, job: Job, position: Position) -> "Progress":
        """Make the progress of a job that continues at this position."""
        steps_per_epoch = -(-len(job.loader) // job.config.accumulate)
        return cls(sum(phase.epochs for phase in job.phases), steps_per_epoch, position.steps, job.config.print_freq)

    def begin_phase(self, phase: Phase, position: Position, resumed: bool) -> None:
        """Take the columns of the phase's method, and log its notice."""
        self.columns = (*COLUMNS, *phase.method.columns)
        if phase.method.notice:
            self.log(phase.method.notice)

    def end_step(self, phase: Phase, position: Position, objective: float) -> None:
        """Move the bar; show the metrics of every `print_freq`-th step."""
        self.advance(phase.name, phase.method.so_far())
        if self.print_freq and position.steps % self.print_freq == 0:
            self.show(step_record(phase, position, objective))

    def end_epoch(self, phase: Phase, epoch: int, position: Position, metrics: dict) -> None:
        """Show the metrics of the epoch."""
        self.show(epoch_record(phase, epoch, position, metrics))

    def advance(self, phase: str, metrics: dict) -> None:
        """Move the bar by one step; metrics: of the epoch so far."""
        if self.bar is not None:
            self.bar.set_postfix_str(f"{phase} {self._line(metrics)}", refresh=False)
            self.bar.update()

    def show(self, record: dict) -> None:
        """Show the metrics of a step's or an epoch's record."""
        metrics = self._line(record)
        if self.bar is None:
            at = f" step {record['step']}" if record["record"] == "step" else ""
            log(f"{record['phase']:<8} epoch {record['epoch'] + 1:>3}/{self.total_epochs}{at}  {metrics}  "
                f"{record['seconds']:.0f} s")
        else:
            self.bar.set_postfix_str(f"{record['phase']} {metrics}")

    def close(self) -> None:
        """Remove the bar."""
        if self.bar is not None:
            self.bar.close()

    def _line(self, metrics):
        return "  ".join(f"{label} {layout.format(metrics[name])}" for name, label, layout in self.columns
                         if metrics.get(name) is not None)

    def _log(self, *lines: str) -> None:
        log(*lines, write=None if self.bar is None else self.bar.write)


def log(*lines: str, write: Callable[[str], object] | None = None) -> None:
    """Print lines and flush. A full disk behind standard output does not stop training; a broken pipe does."""
    try:
        say(*lines, write=write)
    except BrokenPipeError:
        raise
    except OSError as error:
        tell_once(f"tinyq: standard output: {error.strerror}; lines are lost, training continues")
