"""Best-effort writes: report a failing disk once and keep training."""
from collections.abc import Callable

from tinyq.errors import CannotCreate, InputOutputError


class BestEffort:
    """Call functions that write to disk; log a failure once, until a write succeeds or the reason changes."""

    def __init__(self, log: Callable[[str], None], meanwhile: str = "training continues, and older checkpoints stay"):
        """log: prints a line; meanwhile: the end of that line."""
        self._log, self._meanwhile = log, meanwhile
        self._logged: str | None = None

    def __call__(self, write: Callable[[], object]) -> bool:
        """Return True if `write` succeeded; errors other than a disk's pass through."""
        try:
            write()
        except (CannotCreate, InputOutputError) as error:
            if str(error) != self._logged:
                self._log(f"tinyq: {error}; {self._meanwhile}")
            self._logged = str(error)
            return False
        self._logged = None                     # the next failure is another one
        return True
