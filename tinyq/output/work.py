"""Say every ten seconds what is being worked on and how long it will take, where nothing else is shown."""
import threading
import time
from types import TracebackType
from typing import Self

from tinyq.output.terminal import seconds_of_silence, tell

SECONDS = 10
_lock = threading.Lock()
_running: list["Work"] = []             # the last one is shown
_all_done = threading.Event()           # ends the thread that watches


class Work:
    """A piece of work, in a with block; a line about it is printed whenever nothing was shown for SECONDS.

    A thread prints the line, so that work which takes long without `advance` is heard of too. what: the name of the
    work, which may change. Counts are of pieces; without a total, the line says how long the work has taken.
    """

    def __init__(self, what: str, total: int | None = None, pieces: str = "steps"):
        """total: number of pieces to come, None where nobody knows; pieces: their name."""
        self.what, self.total, self.pieces, self.done = what, total, pieces, 0
        self.began: float | None = None
        self._took = 0.0                        # seconds, until it was left last

    def __enter__(self) -> Self:
        """Begin the work."""
        global _all_done
        with _lock:
            if not _running:
                _all_done = threading.Event()
                threading.Thread(target=_watch, args=(_all_done,), daemon=True).start()
            if self not in _running:                    # entered again, such as compiling: what lay between is left out
                self.began = time.monotonic() - self._took
            _running.append(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """End the work."""
        with _lock:
            _running.remove(self)
            if self not in _running and self.began is not None:
                self._took = time.monotonic() - self.began
            if not _running:
                _all_done.set()

    def advance(self, number: int = 1) -> None:
        """Count pieces that are done."""
        self.done += number
        if _running and _running[-1] is self:
            _tell_if_silent(self)

    def line(self) -> str:
        """Say what is done and how long the rest will take."""
        took = time.monotonic() - self.began if self in _running and self.began is not None else self._took
        if self.total is None:
            count = f"{self.done:,} {self.pieces}, " if self.done else ""
            return f"{self.what}: {count}{duration(took)} so far"
        count = f"{self.what}: {self.done:,} of {self.total:,} {self.pieces}"
        if not self.done:
            return f"{count}, {duration(took)} so far"
        return f"{count}, about {duration(took / self.done * max(0, self.total - self.done))} left"


def _watch(all_done):
    while not all_done.wait(max(0.1, SECONDS - seconds_of_silence())):
        with _lock:
            work = _running[-1] if _running else None
        if work:
            _tell_if_silent(work)


def _tell_if_silent(work):
    if seconds_of_silence() >= SECONDS:
        tell(work.line())


def duration(seconds: float) -> str:
    """Return a number of seconds in the unit that reads best."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
