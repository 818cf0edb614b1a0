"""The parts of a dataset that a network can be measured on."""
from tinyq.errors import UsageError, did_you_mean

SPLITS = ("test", "validation", "train")


def check_split(part: str) -> None:
    """Raise UsageError unless the split is test, validation or train."""
    if part not in SPLITS:
        raise UsageError(f"split {part}: {did_you_mean(part, SPLITS)}")
