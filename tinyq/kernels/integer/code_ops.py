"""Operations of integer programs other than products, on codes (n, places, channels) uint8 or int16."""
import numba
import numpy as np

from tinyq.kernels.geometry.spans import MIN_PARALLEL_SIZE
from tinyq.kernels.integer.code_moves import copy_exactly, raise_codes
from tinyq.kernels.jit.compile import njit, part, prange

_CHUNK = 1 << 12


@part
def _rounded(v, shift):
    """v / 2^shift, half to even."""
    return (v + ((1 << (shift - 1)) - 1) + ((v >> shift) & 1)) >> shift


@njit(parallel=True)
def max_pool(x, origins, heights, widths, down, right, y):
    """y[i, o] = the largest x[i, origins[o] + r * down + c * right], r < heights[o], c < widths[o], per channel."""
    channels, size = y.shape[2], y.itemsize
    row = channels * size
    for place in prange(y.shape[0] * y.shape[1]):
        i, o = place // y.shape[1], place % y.shape[1]
        source = x.ctypes.data + (i * x.shape[1] + origins[o]) * row
        target = y.ctypes.data + place * row
        copy_exactly(source, target, row)
        for r in range(heights[o]):
            for c in range(widths[o]):
                raise_codes(target, source + (r * down + c * right) * row, channels, size)


@njit(parallel=True)
def mean(x, origins, heights, widths, down, right, multiplier, offset, shift, low, high, y):
    """Return the requantised sum over each window; multiplier and offset (windows,) int64."""
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
    """Return the requantised weighted sum of two values, flat."""
    for chunk in prange(-(-y.size // _CHUNK)):
        for j in range(chunk * _CHUNK, min(y.size, (chunk + 1) * _CHUNK)):
            other = (np.int64(added[j]) * added_multiplier) << added_shift
            value = _rounded(np.int64(x[j]) * multiplier + offset + other, shift)
            y[j] = min(max(value, low), high)


def quantise(x, reciprocal, zero, low, high, y):
    """Codes (n, places, channels) of floats (n, channels, places): clamp(rint(x * reciprocal) + zero), NaN as 0."""
    tasks = y.shape[0] * -(-y.shape[1] // _CHUNK)
    if y.size < MIN_PARALLEL_SIZE:
        _quantise(x, reciprocal, zero, low, high, y, tasks)
    else:
        _quantise_parallel(x, reciprocal, zero, low, high, y, tasks)


@njit
def _quantise(x, reciprocal, zero, low, high, y, tasks):
    for task in range(tasks):
        _quantise_chunk(x, reciprocal, zero, low, high, y, task)


@njit(parallel=True)
def _quantise_parallel(x, reciprocal, zero, low, high, y, tasks):
    for task in prange(tasks):
        _quantise_chunk(x, reciprocal, zero, low, high, y, np.int64(task))


@part
def _quantise_chunk(x, reciprocal, zero, low, high, y, task):
    places, channels = y.shape[1:]
    chunks = -(-places // _CHUNK)
    i, first = task // chunks, task % chunks * _CHUNK
    codes = np.empty(min(_CHUNK, places - first), y.dtype)
    for c in range(channels):
        _quantise_run(x[i, c, first:first + codes.size], reciprocal, zero, low, high, codes)
        for p in range(codes.size):
            y[i, first + p, c] = codes[p]


@part
def _quantise_run(x, reciprocal, zero, low, high, codes):
    """Quantise one run; in a function of its own LLVM turns the loop into vectors."""
    min_code, max_code = np.float32(low - zero), np.float32(high - zero)
    for p in range(codes.size):
        value = x[p] if x[p] == x[p] else np.float32(0)
        codes[p] = np.int32(min(max(np.rint(value * reciprocal), min_code), max_code)) + np.int32(zero)


@njit
def dequantise(q, zero, scale, y):
    """Floats (n, channels, places) of codes (n, places, channels): (q - zero) * scale."""
    for i in range(q.shape[0]):
        for p in range(q.shape[1]):
            for c in range(q.shape[2]):
                y[i, c, p] = np.float32(np.int64(q[i, p, c]) - zero) * scale


def threads() -> int:
    """Return the maximum number of threads of a parallel kernel."""
    return numba.get_num_threads()
