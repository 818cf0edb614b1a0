"""Find the range of each activation from samples: its extremes, and the range that 8 bits represent best."""
from collections.abc import Sequence

import numpy as np

from tinyq.errors import UsageError
from tinyq.output.work import Work
from tinyq.packed.file.format import Packed
from tinyq.packed.float_network import FloatNetwork

BINS, CANDIDATES, CODES = 2048, 64, 255


def ranges(packed: Packed, batches: Sequence[np.ndarray]) -> np.ndarray:
    """Return (2, values, 2) float32, the input first: [0] extremes of every value, [1] ranges of least 8-bit error.

    batches: float32 arrays (n, ...), read twice. UsageError where a value is not finite.
    """
    network = FloatNetwork(packed)
    count = len(packed.graph.nodes) + 1
    full = np.stack([np.full(count, np.inf), np.full(count, -np.inf)], axis=1)
    histograms = np.zeros((count, BINS), np.int64)
    with Work("calibrating", 2 * len(batches), "batches") as work:
        for x in batches:
            for value, array in network.values(x):
                full[value + 1] = min(full[value + 1, 0], array.min()), max(full[value + 1, 1], array.max())
            work.advance()
        bad = np.flatnonzero(~np.isfinite(full).all(axis=1))
        if bad.size:
            raise UsageError(f"calibration: {packed.graph.label_of(int(bad[0]) - 1)} is infinite or NaN for some "
                             "samples")
        for x in batches:
            for value, array in network.values(x):
                low, high = full[value + 1]
                histograms[value + 1] += np.histogram(array, BINS, (low, high if high > low else low + 1))[0]
            work.advance()
    clipped = np.array([_best(full[i, 0], full[i, 1], histograms[i]) for i in range(count)])
    return np.stack([full, clipped]).astype(np.float32)


def _best(low, high, histogram):
    """Return the range with the least squared error of rounding and clipping; both ends shrink by one factor."""
    width = (high - low) / BINS
    if not width > 0:
        return low, high
    centres = low + (np.arange(BINS) + 0.5) * width
    factors = np.linspace(1, 1 / CANDIDATES, CANDIDATES)
    errors = [_error(centres, histogram, min(low, 0) * factor, max(high, 0) * factor) for factor in factors]
    factor = factors[int(np.argmin(errors))]
    return min(low, 0) * factor, max(high, 0) * factor


def _error(x, counts, low, high):
    step = (high - low) / CODES
    inside = np.clip(x, low, high)
    return float(np.sum(counts * ((x - inside) ** 2 + np.where(x == inside, step * step / 12, 0))))
