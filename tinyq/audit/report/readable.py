"""Read a broken ledger as far as its chain holds, so that a page can show what comes before the break."""
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tinyq.audit.ledger.history import History
from tinyq.audit.ledger.records import records_of
from tinyq.audit.replay.rerun import Source
from tinyq.errors import AuditMismatch


def read_as_far_as_possible(run: str | Path) -> tuple[History | None, str]:
    """Return (history, fault): of the lines before the first fault, None without any; "" where all hold.

    BadInput where there is no ledger.
    """
    history = None
    try:
        for line in records_of(run):
            history = History(Path(run), line, line) if history is None else history
            history.add(line)
    except AuditMismatch as error:
        return history, str(error)
    return history, ""


@dataclass(frozen=True)
class ReadableSource(Source):
    """A run folder to repeat as far as a history goes that was read already."""

    readable: History | None = None

    @cached_property
    def history(self) -> History:
        """The history that was read."""
        assert self.readable is not None
        return self.readable
