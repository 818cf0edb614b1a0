"""Numbers from a foreign ledger, which may hold anything."""
from tinyq.audit.ledger.records import number_of

LARGEST = 1e30                          # to draw


def number_or_none(value: object) -> float | None:
    """Return the number that a ledger holds, plain or as hexadecimal text; None for anything else, or out of range."""
    number = number_of(value)
    if isinstance(number, bool) or not isinstance(number, int | float):
        return None
    return float(number) if abs(number) < LARGEST else None
