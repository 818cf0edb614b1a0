"""The ledger of a run: record every step, verify the records, replay any step bit for bit, show the results."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tinyq.audit.ledger.hash_chain import head_of

if TYPE_CHECKING:                       # both take long to import
    from tinyq.run.observers.observer import Observer
    from tinyq.run.settings.config import Config

__all__ = ["head_of", "observers_for", "replay_run", "verify_run"]


def observers_for(config: Config) -> list[Observer]:
    """Return the observers for the settings `audit` and `audit_every`; none for "off"."""
    if config.audit == "off":
        return []
    from tinyq.audit.recording.ledger_writer import LedgerWriter

    return [LedgerWriter(config.audit, config.audit_every)]


def verify_run(run: str | Path, head: str | None = None, trust: bool = False) -> list[str]:
    """Verify a run folder without repeating a step; return the results, one line each.

    head: an earlier head of the ledger, kept elsewhere. Raises AuditMismatch naming every fault.
    """
    from tinyq.audit.verification.verify import verify

    return verify(run, head, trust)


def replay_run(run: str | Path, random: int, trust: bool = False) -> int:
    """Repeat this many random steps on the real data, bit for bit; return the number of steps compared.

    The steps between a checkpoint and a chosen step are repeated and compared too. trust: run the copy of a user's own
    network in the folder, which is code. Raises AuditMismatch for the first difference, naming the tensor and the
    operation.
    """
    from tinyq.audit.replay.replay import random_steps, replay
    from tinyq.audit.replay.rerun import Source

    source = Source(Path(run), {}, trust)
    return replay(source, random_steps(source, random)).compared
