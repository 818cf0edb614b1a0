"""SIGINT and SIGTERM as requests: the step in hand is finished and a checkpoint written; a second one ends at once."""
import signal
import threading
from contextlib import contextmanager

from tinyq.errors import TinyqError

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(TinyqError):
    """The run was asked to stop, and did so in order."""

    def __init__(self, number: int, message: str):
        """Exit with 128 plus the signal's number, as shells count."""
        super().__init__(message)
        self.exit_code = 128 + number


class StopRequest:
    """`number` is the signal received, None as long as there is none."""

    number: int | None = None

    def heed(self, folder, steps: int) -> None:
        """Raise Stopped, which says how to go on, if a signal has come."""
        if self.number is not None:
            raise Stopped(self.number, f"stopped after step {steps}; "
                          f"go on with: python -m tinyq.train --resume {folder}")


@contextmanager
def stop_request():
    """Catch both signals for the length of a with block; outside the main thread, which cannot, do nothing."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {}

    def receive(number, frame):
        request.number = number
        for s in SIGNALS:
            signal.signal(s, signal.SIG_DFL)

    try:
        before = {s: signal.signal(s, receive) for s in SIGNALS}
        yield request
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
