"""Numbers with their nouns."""


def counted(number: int, noun: str) -> str:
    """Return "1 record", "2 records", "1,600 records"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
