"""The ledger of a run: record every step, verify the records, replay any step bit for bit, show the results."""
from tinyq.audit.ledger.hash_chain import head_of

__all__ = ["head_of", "observers_for"]


def observers_for(config):
    """Return the observers for the settings `audit` and `audit_every`; none for "off"."""
    if config.audit == "off":
        return []
    from tinyq.audit.recording.ledger_writer import LedgerWriter

    return [LedgerWriter(config.audit, config.audit_every)]
