"""The other operations of integer programs (packed/program.py), on codes (n, places, channels) uint8 or int16."""
import numba
import numpy as np

from tinyq.kernels.compile import njit, part, prange

_CHUNK = 1 << 12


@part
def _rounded(v, shift):
    """v / 2^shift, half to even."""
    return (v + ((1 << (shift - 1)) - 1) + ((v >> shift) & 1)) >> shift


@njit(parallel=True)
def max_pool(x, origins, heights, widths, down, right, y):
    """y[i, o] = the largest x[i, origins[o] + r * down + c * right], r < heights[o], c < widths[o], per channel."""
    for row in prange(y.shape[0] * y.shape[1]):
        i, o = row // y.shape[1], row % y.shape[1]
        image, target = x[i], y[i, o]
        target[:] = image[origins[o]]
        for r in range(heights[o]):
            for c in range(widths[o]):
                _raise_to(target, image[origins[o] + r * down + c * right])


@part
def _raise_to(target, codes):
    for j in range(target.size):
        target[j] = max(target[j], codes[j])


@njit(parallel=True)
def mean(x, origins, heights, widths, down, right, multiplier, offset, shift, low, high, y):
    """The requantised sum over each window; multiplier and offset (windows,) int64."""
    for row in prange(y.shape[0] * y.shape[1]):
        i, o = row // y.shape[1], row % y.shape[1]
        sums = np.zeros(x.shape[2], np.int64)
        for r in range(heights[o]):
            for c in range(widths[o]):
                place = x[i, origins[o] + r * down + c * right]
                for j in range(place.size):
                    sums[j] += place[j]
        for j in range(sums.size):
            value = _rounded(sums[j] * multiplier[o] + offset[o], shift)
            y[i, o, j] = min(max(value, low), high)


@njit(parallel=True)
def add(x, added, multiplier, offset, shift, low, high, added_multiplier, added_shift, y):
    """The requantised weighted sum of two values, flat."""
    for chunk in prange(-(-y.size // _CHUNK)):
        for j in range(chunk * _CHUNK, min(y.size, (chunk + 1) * _CHUNK)):
            other = (np.int64(added[j]) * added_multiplier) << added_shift
            value = _rounded(np.int64(x[j]) * multiplier + offset + other, shift)
            y[j] = min(max(value, low), high)


@njit(parallel=True)
def quantise(x, reciprocal, zero, low, high, y):
    """Codes (n, places, channels) of floats (n, channels, places): clamp(rint(x * reciprocal) + zero), NaN as 0."""
    n, places, channels = y.shape
    chunks = -(-places // _CHUNK)
    for task in prange(n * chunks):
        i, chunk = task // chunks, task % chunks
        for p in range(chunk * _CHUNK, min(places, (chunk + 1) * _CHUNK)):
            for c in range(channels):
                value = x[i, c, p]
                scaled = np.rint((value if value == value else np.float32(0)) * reciprocal)
                limited = min(max(scaled, np.float32(low - zero)), np.float32(high - zero))
                y[i, p, c] = np.int64(limited) + zero


@njit
def dequantise(q, zero, scale, y):
    """Floats (n, channels, places) of codes (n, places, channels): (q - zero) * scale."""
    for i in range(q.shape[0]):
        for p in range(q.shape[1]):
            for c in range(q.shape[2]):
                y[i, c, p] = np.float32(np.int64(q[i, p, c]) - zero) * scale


def threads() -> int:
    """How many a parallel kernel uses at most."""
    return numba.get_num_threads()
