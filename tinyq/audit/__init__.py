"""The ledger of a run: every step on record (seal), checked (verify), repeated to the bit (replay), and shown."""
from tinyq.audit.ledger import head_of

__all__ = ["head_of", "observer_for"]


def observer_for(audit: str):
    """The observer of a run with this --audit: None for "off"."""
    if audit == "off":
        return None
    from tinyq.audit.seal import Seal

    return Seal(audit)
