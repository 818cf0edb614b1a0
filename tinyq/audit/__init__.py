"""The ledger of a run: every step on record (seal), checked (verify), repeated to the bit (replay), and shown."""
from tinyq.audit.ledger.hash_chain import head_of

__all__ = ["head_of", "observer_for"]


def observer_for(config):
    """The observer that a run's --audit and --audit-every ask for: None for "off"."""
    if config.audit == "off":
        return None
    from tinyq.audit.recording.seal import Seal

    return Seal(config.audit, config.audit_every)
