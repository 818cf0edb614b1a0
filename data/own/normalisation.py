"""Measure mean and standard deviation of the training part, to the same bits on every machine."""
import math
from collections.abc import Iterator

import numpy as np

PER_FEATURE = 256                       # most features that each have a mean of their own
CONSTANT = 1e-12                        # std, in units of the mean, of values that differ by rounding alone
BLOCK = 1 << 20                         # numbers added at a time


def measured(values: np.ndarray, divisor: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return (mean, std) of values / divisor per channel of values (N, channels or features, ...), float64.

    More than PER_FEATURE features share one mean and one std. Where all values are equal, std is 1.
    """
    channels = values.shape[1] if values.shape[1] <= PER_FEATURE else 1
    means = [total / count for total, count in _sums(values, channels, divisor, [0.0] * channels, 1)]
    squares = _sums(values, channels, divisor, means, 2)
    stds = [math.sqrt(total / count) for total, count in squares]
    pairs = zip(means, stds, strict=True)
    return tuple(means), tuple(std if std > CONSTANT * abs(mean) else 1.0 for mean, std in pairs)


def _sums(values, channels, divisor, means, power):
    """Return per channel the sum of (value / divisor - mean) ** power, and how many values it has."""
    totals = np.zeros((0, channels))
    for rows in _blocks(values, channels):
        rows = rows / divisor - np.array(means)
        totals = np.concatenate([totals, _added(rows * rows if power == 2 else rows)])
    return [(total, values.size // channels) for total in _added(totals)[0].tolist()]


def _blocks(values: np.ndarray, channels: int) -> Iterator[np.ndarray]:
    """Yield the values as float64 rows of one number per channel."""
    step = max(1, BLOCK // values[0].size)
    for start in range(0, len(values), step):
        block = np.asarray(values[start:start + step], np.float64)
        yield (block.reshape(len(block), channels, -1).transpose(0, 2, 1).reshape(-1, channels)
               if channels > 1 else block.reshape(-1, 1))


def _added(rows):
    """Add the rows in a tree: its order is fixed, while that of np.sum is not."""
    while len(rows) > 1:
        half = len(rows) // 2
        rows = np.concatenate([rows[:half] + rows[half:2 * half], rows[2 * half:]])
    return rows
