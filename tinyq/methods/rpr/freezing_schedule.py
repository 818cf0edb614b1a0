"""Schedule RPR's frozen fractions: how long each lasts, and the factor on the learning rate in each epoch."""
from dataclasses import dataclass
from fractions import Fraction

from tinyq.errors import UsageError

# Factor on the learning rate in each third of a fraction's epochs.
FIRST, BETWEEN, LAST = (1, 1, 1), (1, 1, 0.1), (1, 0.1, 0.01)
PUBLISHED = 112                         # epochs of the paper's GoogLeNet: 37, then 15 at each fraction, then 30 at 1
PUBLISHED_PERIOD, PUBLISHED_FINAL = 15, 30


@dataclass(frozen=True)
class FreezingSchedule:
    """Freezing fractions, ascending to 1, and how many epochs each lasts at most."""

    fractions: tuple[Fraction, ...]
    lengths: tuple[int, ...]

    def rate(self, stage: int, epoch: int) -> float:
        """Return the factor on the learning rate in an epoch of a stage, both counted from 0."""
        shares = LAST if stage == len(self.fractions) - 1 else BETWEEN if stage else FIRST
        return shares[3 * epoch // self.lengths[stage]]


def freezing_schedule(fractions: str, epochs: int, period: int | None = None,
                      final: int | None = None) -> FreezingSchedule:
    """Divide `epochs`: `final` for fraction 1, `period` for each fraction in between, the rest for the first.

    fractions: text such as "0.9,0.95,1". period and final default to the published shares, 15 and 30 of 112 epochs.
    UsageError, naming the parameter, if the fractions do not ascend to 1 or the epochs do not suffice.
    """
    parts = _parse(fractions)
    if len(parts) == 1:
        return FreezingSchedule(parts, (_at_least_one_each(epochs, parts, epochs),))
    period = max(1, epochs * PUBLISHED_PERIOD // PUBLISHED) if period is None else period
    final = max(1, epochs * PUBLISHED_FINAL // PUBLISHED) if final is None else final
    for name, value in (("period", period), ("final", final)):
        if value < 1:
            raise UsageError(f"{name} must be at least 1, got {value}")
    between = (period,) * (len(parts) - 2)
    first = _at_least_one_each(epochs, parts, epochs - sum(between) - final)
    return FreezingSchedule(parts, (first, *between, final))


def _parse(text):
    """Parse the fractions exactly as written: 0.95 is 19/20."""
    try:
        parts = tuple(Fraction(part.strip()) for part in text.split(","))
    except (ValueError, ZeroDivisionError):
        parts = ()
    ascending = all(low < high for low, high in zip(parts, parts[1:], strict=False))
    if not parts or parts[0] < 0 or parts[-1] != 1 or not ascending:
        raise UsageError(f"fractions must ascend from 0 or more to 1, such as 0.9,0.95,0.975,0.9875,1, got {text}")
    return parts


def _at_least_one_each(epochs, parts, first):
    if first < 1:
        raise UsageError(f"epochs must be at least {epochs + 1 - first} for {len(parts)} freezing fractions of RPR, "
                         f"got {epochs}; or give smaller period and final, or fewer fractions")
    return first
