"""The ledger of a run: record every step, verify the records, replay any step bit for bit, show the results."""
from tinyq.audit.ledger.hash_chain import head_of

__all__ = ["head_of", "observer_for"]


def observer_for(config):
    """Return the observer for the settings `audit` and `audit_every`; None for "off"."""
    if config.audit == "off":
        return None
    from tinyq.audit.recording.ledger_writer import LedgerWriter

    return LedgerWriter(config.audit, config.audit_every)
