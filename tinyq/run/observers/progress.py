"""The progress of a run: a line per epoch; on a terminal a bar below the lines."""
import math
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from tqdm import tqdm

from tinyq.methods.base import COMMON_COLUMNS, Column, Numbers
from tinyq.output.terminal import fitted, lines_above, note_shown, width_of
from tinyq.output.work import Work
from tinyq.run.build import Job
from tinyq.run.checkpoint import Position
from tinyq.run.observers.metrics_journal import epoch_record, step_record
from tinyq.run.observers.observer import Observer
from tinyq.run.phases import Phase

REFRESH = 0.1                           # seconds between two states of the bar
BAR, LEAST_BAR, TIME = 20, 4, 20        # columns: of the bar, of the shortest one, of " 100%|| 1:00:00 left"


class Progress(Observer):
    """Print steps and epochs as they end; between them, a bar on a terminal, else a line where there is silence."""

    def __init__(self, total_epochs: int, total_steps: int, steps_done: int = 0, print_freq: int = 0,
                 terminal: bool | None = None) -> None:
        """print_freq: print every N-th step too, 0 for none. terminal: True to draw a bar; None asks standard error."""
        self.total_epochs, self.print_freq = total_epochs, print_freq
        self.columns: tuple[Column, ...] = COMMON_COLUMNS
        self.work = Work("training", total_steps - steps_done)
        self._terminal, self._steps, self._refreshed = terminal, (steps_done, total_steps), -math.inf
        self._open = ExitStack()
        self.bar: tqdm | None = None

    @classmethod
    def of(cls, job: Job, position: Position) -> "Progress":
        """Make the progress of a job that continues at this position."""
        total = sum(phase.epochs for phase in job.phases)
        steps, most = total * -(-len(job.loader) // job.config.accumulate), job.config.max_steps
        steps = max(position.steps, steps if most is None else min(steps, most))
        return cls(total, steps, position.steps, job.config.print_freq)

    def begin(self, job: Job, folder: Path, position: Position) -> None:
        """Show the bar."""
        self.start()

    def start(self) -> None:
        """Show the bar on a terminal; from now on, break no silence of a run that shows something itself."""
        self._open.enter_context(self.work)
        if width_of(sys.stderr) is not None if self._terminal is None else self._terminal:
            done, total = self._steps
            self.bar = self._open.enter_context(tqdm(total=total, initial=done, leave=False, dynamic_ncols=True,
                                                     bar_format=" {percentage:3.0f}% {remaining} left"))
            self._open.enter_context(lines_above(lambda text, stream: tqdm.write(text, file=stream)))

    def begin_phase(self, phase: Phase, position: Position, resumed: bool) -> None:
        """Take the columns of the phase's method, and log its notice."""
        self.columns = (*COMMON_COLUMNS, *phase.method.columns)
        if phase.method.notice:
            self.log(phase.method.notice)

    def end_step(self, phase: Phase, position: Position, objective: float) -> None:
        """Move the bar; show the metrics of every `print_freq`-th step."""
        if time.monotonic() - self._refreshed >= REFRESH:
            self.refresh(phase.name, phase.epoch_number(position.epoch), phase.method.so_far())
        self.advance()
        if self.print_freq and position.steps % self.print_freq == 0:
            self.show(step_record(phase, position, objective))

    def end_epoch(self, phase: Phase, epoch: int, position: Position, metrics: dict) -> None:
        """Show the metrics of the epoch."""
        self.show(epoch_record(phase, epoch, position, metrics))

    def advance(self) -> None:
        """Move the bar by one step."""
        self.work.advance()
        if self.bar is not None and self.bar.update():
            note_shown()

    def refresh(self, phase: str, epoch: int, metrics: Numbers) -> None:
        """Show where the run is, and figures as far as they fit beside the bar; metrics: of the epoch so far."""
        self._refreshed = time.monotonic()
        where, figures = f"{phase} {epoch}/{self.total_epochs}", self._figures(metrics)
        self.work.what = "  ".join([where, *figures])
        if self.bar is None:
            return
        room = (width_of(sys.stderr) or 80) - 1 - len(where) - TIME
        bar = f"|{{bar:{min(BAR, room)}}}| " if room >= LEAST_BAR else " "
        beside = fitted(["", *figures], max(0, room - BAR))[0]
        self.bar.bar_format = (f"{where} {{percentage:3.0f}}%{bar}{{remaining}} left"
                               + beside.replace("{", "{{").replace("}", "}}"))

    def show(self, record: dict) -> None:
        """Show the metrics of a step's or an epoch's record; a terminal breaks no figure."""
        at = f" step {record['step']}" if record["record"] == "step" else ""
        head = f"{record['phase']:<8} epoch {record['epoch']:>3}/{self.total_epochs}{at}"
        self.log(*fitted([head, *self._figures(record), f"{record['seconds']:.0f} s"], width_of(sys.stdout)))

    def close(self) -> None:
        """Remove the bar."""
        self._open.close()

    def _figures(self, metrics):
        return [f"{label} {layout.format(metrics[name])}" for name, label, layout, _ in self.columns
                if metrics.get(name) is not None]
