"""References of the operations on codes (n, places, channels); y is the output array, uint8 or int16."""
import numpy as np

from tinyq.kernels.reference.integer.requantise import requantise


def max_pool(x, origins, heights, widths, down, right, y):
    """y[i, o] = the largest x[i, origins[o] + r * down + c * right], r < heights[o], c < widths[o], per channel."""
    for o in range(y.shape[1]):
        y[:, o] = x[:, _window(o, origins, heights, widths, down, right)].max(axis=1)


def mean(x, origins, heights, widths, down, right, multiplier, offset, shift, low, high, y):
    """Return the requantised sum over each window; multiplier and offset (windows,) int64."""
    sums = np.empty(y.shape, np.int64)
    for o in range(y.shape[1]):
        sums[:, o] = x[:, _window(o, origins, heights, widths, down, right)].sum(axis=1, dtype=np.int64)
    y[...] = requantise(sums, multiplier[:, None], offset[:, None], shift, low, high)


def add(x, added, multiplier, offset, shift, low, high, added_multiplier, added_shift, y):
    """Return the requantised weighted sum of two values, flat."""
    y[...] = requantise(x.astype(np.int64), multiplier, offset, shift, low, high, added, added_multiplier, added_shift)


def quantise(x, reciprocal, zero, low, high, y):
    """Codes (n, places, channels) of floats (n, channels, places): clamp(rint(x * reciprocal) + zero), NaN as 0."""
    with np.errstate(over="ignore"):                    # an infinity is beyond the last code, as it should be
        scaled = np.rint(np.where(np.isnan(x), np.float32(0), x) * np.float32(reciprocal))
    y[...] = (np.clip(scaled, low - zero, high - zero).astype(np.int64) + zero).transpose(0, 2, 1)


def dequantise(q, zero, scale, y):
    """Floats (n, channels, places) of codes (n, places, channels): (q - zero) * scale."""
    y[...] = ((q.astype(np.int64) - zero).astype(np.float32) * np.float32(scale)).transpose(0, 2, 1)


def _window(o, origins, heights, widths, down, right):
    """Return the places that window o reads."""
    return (origins[o] + np.arange(heights[o])[:, None] * down + np.arange(widths[o]) * right).reshape(-1)
