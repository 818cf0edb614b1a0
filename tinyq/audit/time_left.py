"""Say every ten seconds how far a long audit has come and how long it will take."""
import time

from tinyq.output.terminal import tell

SECONDS = 10


class TimeLeft:
    """Count pieces of work; print a line on standard error where none was printed for SECONDS."""

    def __init__(self, total: int, what: str, pieces: str = "steps"):
        """total: number of pieces to come; what: the name of the work; pieces: their name."""
        self.total, self.what, self.pieces, self.done = total, what, pieces, 0
        self.began = self.told = time.monotonic()

    def advance(self, number: int = 1) -> None:
        """Count pieces that are done."""
        self.done += number
        now = time.monotonic()
        if now - self.told >= SECONDS and self.done:
            self.told = now
            left = (now - self.began) / self.done * max(0, self.total - self.done)
            tell(f"{self.what}: {self.done:,} of {self.total:,} {self.pieces}, about {duration(left)} left")


def duration(seconds: float) -> str:
    """Return a number of seconds in the unit that reads best."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
