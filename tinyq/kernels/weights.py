"""Weights in the order the register tile reads them: ROWS of them side by side for every k."""
import numpy as np

from tinyq.kernels.compile import njit, prange
from tinyq.kernels.micro import ROWS, peek, poke
from tinyq.kernels.spans import contiguous

_WORTH_THREADS = 1 << 16


def pack_rows(w, groups, m, row_step, taps):
    """(groups, tiles, k, ROWS) from weights w: row r of group g has its k-th at (g * m + r) * row_step + taps[k].

    For an input gradient rows are input channels: row_step is that of one, and the rows of group g begin at
    g times the elements of a group's weights. Rows beyond m are anything.
    """
    packed = np.empty((groups, -(-m // ROWS), len(taps), ROWS), np.float32)
    pack = _pack_parallel if packed.size >= _WORTH_THREADS else _pack
    pack(contiguous(w).ctypes.data, w.size // groups, m, row_step, taps, packed)
    return packed


@njit
def _pack(w, group_step, m, row_step, taps, packed):
    for tile in range(packed.shape[0] * packed.shape[1]):
        _pack_tile(w, group_step, m, row_step, taps, tile, packed)


@njit(parallel=True)
def _pack_parallel(w, group_step, m, row_step, taps, packed):
    for tile in prange(packed.shape[0] * packed.shape[1]):
        _pack_tile(w, group_step, m, row_step, taps, tile, packed)


@njit
def _pack_tile(w, group_step, m, row_step, taps, tile, packed):
    group, t = tile // packed.shape[1], tile % packed.shape[1]
    begin, rows = group * group_step + t * ROWS * row_step, min(ROWS, m - t * ROWS)
    into = packed[group, t].ctypes.data
    for r in range(rows):
        at = w + (begin + r * row_step) * 4
        for k in range(taps.size):
            poke(into, k * ROWS + r, peek(at, taps[k]))
