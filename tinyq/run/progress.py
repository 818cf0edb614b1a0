"""What a run says while it works: one bar on a terminal, plain lines in a pipe."""
import sys

from tqdm import tqdm

from tinyq.errors import tell_once

# figures of an epoch's record as a line shows them: (name, label, format)
SHOWN = (("objective", "objective", "{:.4f}"), ("loss", "loss", "{:.4f}"), ("error", "error", "{:.2%}"),
         ("validation_error", "validation", "{:.2%}"), ("test_error", "test", "{:.2%}"), ("moves", "moves", "{:,}"),
         ("lr", "lr", "{:.2g}"),
         ("g", "g", "{:d}"), ("cfs_over_scale", "cfs/a", "{:.4f}"), ("frozen", "frozen", "{:.2%}"))


class Progress:
    """Reports steps and epochs; `bar` None means plain lines on stdout."""

    def __init__(self, total_epochs: int, steps_per_epoch: int, steps_done: int = 0, terminal: bool | None = None):
        """A bar if stderr is a terminal, unless told otherwise."""
        self.total_epochs = total_epochs
        terminal = sys.stderr.isatty() if terminal is None else terminal
        total = total_epochs * steps_per_epoch
        self.bar = tqdm(total=total, initial=steps_done, unit="step", dynamic_ncols=True) if terminal else None

    def say(self, text: str) -> None:
        """A line that stays."""
        say(text, None if self.bar is None else self.bar.write)

    def step(self, phase: str, figures: dict) -> None:
        """One more step is done; figures are those of the epoch so far."""
        if self.bar is not None:
            self.bar.set_postfix_str(f"{phase} {_line(figures)}", refresh=False)
            self.bar.update()

    def record(self, record: dict) -> None:
        """Show the figures of a step's or an epoch's record."""
        figures = _line(record)
        if self.bar is None:
            at = f" step {record['step']}" if record["record"] == "step" else ""
            say(f"{record['phase']:<8} epoch {record['epoch'] + 1:>3}/{self.total_epochs}{at}  {figures}  "
                f"{record['seconds']:.0f} s")
        else:
            self.bar.set_postfix_str(f"{record['phase']} {figures}")

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.close()


def say(text: str, write=None) -> None:
    """Print a line at once. A log on a full disk stops no training; a reader that has gone away does, as everywhere."""
    try:
        write(text) if write else print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        tell_once(f"tinyq: standard output: {error.strerror}; lines are lost, training goes on")


def _line(figures):
    return "  ".join(f"{label} {layout.format(figures[name])}" for name, label, layout in SHOWN
                     if figures.get(name) is not None)
