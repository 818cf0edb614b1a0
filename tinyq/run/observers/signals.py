"""SIGINT and SIGTERM as requests: the step at work is finished and a checkpoint saved; a second signal ends at once."""
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from tinyq.errors import TinyqError
from tinyq.saved.run_folder import resume_command

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(TinyqError):
    """The run was asked to stop, and stopped in good order."""

    def __init__(self, number: int, message: str):
        """Set the exit code to 128 plus the signal's number, as shells do."""
        super().__init__(message)
        self.exit_code = 128 + number


class StopRequest:
    """The request to stop; `number` is the signal received, or None."""

    number: int | None = None

    def check(self, folder: Path, steps: int) -> None:
        """Raise Stopped, with the command that resumes the run, if a signal has come."""
        if self.number is not None:
            raise Stopped(self.number, f"stopped after step {steps}; "
                          f"go on with: {resume_command(folder)}")


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Catch both signals inside a with block; do nothing outside the main thread, which cannot catch any."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def receive(number: int, frame: FrameType | None) -> None:
        request.number = number
        for s in SIGNALS:
            signal.signal(s, signal.SIG_DFL)

    before = {}
    try:
        before = {s: signal.signal(s, receive) for s in SIGNALS}
        yield request
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
