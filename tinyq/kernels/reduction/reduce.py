"""Sums in the contract's order: the same bits whatever the number of threads."""
import numpy as np

from tinyq.kernels.contract import REDUCTION_CHUNK
from tinyq.kernels.geometry.reduction_views import rows_to_sum
from tinyq.kernels.geometry.spans import MIN_PARALLEL_SIZE, flat, items_per_task
from tinyq.kernels.jit.compile import njit, part, prange
from tinyq.kernels.simd.lanes import lane_sum


def sum(x: np.ndarray, axes: int | tuple[int, ...] | None) -> np.ndarray:
    """Sum over `axes` (a number, several, or None for all), which are dropped; float32, rounded once.

    The elements of a result, in C order, are cut into chunks of REDUCTION_CHUNK; a chunk is summed in 32 float64
    lanes and a tree, the chunks' sums are added ascending.
    """
    shape, rows = rows_to_sum(x, axes)
    length = rows.shape[1]
    chunks = -(-length // REDUCTION_CHUNK)
    sums = np.empty(len(rows) * chunks, np.float64)
    if x.size < MIN_PARALLEL_SIZE:
        _chunk_sums(flat(rows), length, chunks, sums, 0, sums.size)
    else:
        _chunk_sums_parallel(flat(rows), length, chunks, sums, items_per_task(min(length, REDUCTION_CHUNK)))
    y = np.empty(shape, np.float32)
    _add_chunks(sums, chunks, y.reshape(-1))
    return y


def channel_sums(x: np.ndarray) -> np.ndarray:
    """Sum of each channel of x (n, c, ...): (c,) float32; a sample's plane is the chunk."""
    n, c = x.shape[:2]
    y = np.empty(c, np.float32)
    if x.ndim == 2:
        _column_sums(flat(x), np.zeros(c, np.float64), y)
    elif x.size < MIN_PARALLEL_SIZE:
        _channel_sums(flat(x), n, y, 0, c)
    else:
        _channel_sums_parallel(flat(x), n, y)
    return y


@njit
def _chunk_sums(x, length, chunks, sums, first, last):
    for k in range(first, last):
        row, start = k // chunks, k % chunks * REDUCTION_CHUNK
        sums[k] = lane_sum(x, row * length + start, min(REDUCTION_CHUNK, length - start))


@njit(parallel=True)
def _chunk_sums_parallel(x, length, chunks, sums, grain):
    for i in prange(-(-sums.size // grain)):
        _chunk_sums(x, length, chunks, sums, i * grain, min((i + 1) * grain, sums.size))


@njit
def _add_chunks(sums, chunks, y):
    for row in range(y.size):
        total = 0.0
        for k in range(row * chunks, (row + 1) * chunks):
            total += sums[k]
        y[row] = total


@njit
def _column_sums(x, totals, y):
    """Sum channels whose planes are one element: adding row by row lets the compiler use vectors."""
    for start in range(0, x.size, max(1, totals.size)):
        _accumulate(x[start:start + totals.size], totals)
    for c in range(y.size):
        y[c] = totals[c]


@part
def _accumulate(x, totals):
    for i in range(x.size):
        totals[i] += x[i]


@njit
def _channel_sums(x, n, y, first, last):
    channels = y.size
    size = x.size // max(1, n * channels)
    for channel in range(first, last):
        total = 0.0
        for sample in range(n):
            total += lane_sum(x, (sample * channels + channel) * size, size)
        y[channel] = total


@njit(parallel=True)
def _channel_sums_parallel(x, n, y):
    for channel in prange(y.size):
        c = np.int64(channel)                               # prange counts unsigned, another type to compile for
        _channel_sums(x, n, y, c, c + 1)
