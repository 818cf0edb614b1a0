"""Pack weights in the order the register tiles read them: MR or NR of them side by side for every k."""
from typing import NamedTuple

import numpy as np

from tinyq.kernels.geometry.spans import contiguous
from tinyq.kernels.jit.compile import njit, part, prange
from tinyq.kernels.simd.memory_ops import copy_floats, interleave_rows, load_float, store_float, transpose_tile
from tinyq.kernels.simd.vectors import LANES, MR, NR

_MIN_PARALLEL_SIZE = 1 << 16


class WeightRows(NamedTuple):
    """Offsets of each output's weights: the k-th of row r of group g is at start(g) + r * row_step + taps[k].

    A row is an output channel, or for an input gradient an input channel; start(g) is g * w.size // groups.
    """

    groups: int
    m: int                          # rows per group
    row_step: int                   # elements
    taps: np.ndarray                # (k,) int64


def pack_rows(w: np.ndarray, rows: WeightRows, block_starts: np.ndarray) -> np.ndarray:
    """Pack weights into tiles of MR rows; return (groups, tiles, k, MR) float32, rows beyond m undefined.

    The order in memory is that of reading: blocks of k within a group, tiles within a block. The k of tile t begin at
    (start * tiles + t * count) * MR for a block of `count` that begins at k = start.
    """
    packed = np.empty((rows.groups, -(-rows.m // MR), len(rows.taps), MR), np.float32)
    pack = _pack_parallel if packed.size >= _MIN_PARALLEL_SIZE else _pack
    pack(contiguous(w).ctypes.data, w.size // rows.groups, rows.m, rows.row_step, rows.taps, block_starts, packed)
    return packed


def pack_panels(w: np.ndarray, rows: WeightRows) -> np.ndarray:
    """Pack weights into panels of NR rows; return (groups, panels, k, NR) float32, rows beyond m undefined."""
    packed = np.empty((rows.groups, -(-rows.m // NR), len(rows.taps), NR), np.float32)
    _pack_panels(contiguous(w).ctypes.data, w.size // rows.groups, rows.m, rows.row_step, rows.taps, packed)
    return packed


@njit(parallel=True)
def _pack_panels(w, group_step, m, row_step, taps, packed):
    for panel in prange(packed.shape[0] * packed.shape[1]):
        group, p = panel // packed.shape[1], panel % packed.shape[1]
        rows, base = min(NR, m - p * NR), w + (group * group_step + p * NR * row_step) * 4
        _pack_panel(base, row_step, rows, taps, packed[group, p].ctypes.data)


@part
def _pack_panel(w, row_step, rows, taps, into):
    done = 0
    if rows == NR and taps[-1] - taps[0] == taps.size - 1:            # taps that follow each other
        done = taps.size - taps.size % LANES
        for k in range(0, done, LANES):
            for r in range(0, NR, LANES):
                transpose_tile(w + (r * row_step + taps[0] + k) * 4, row_step, into + (k * NR + r) * 4, NR)
    for k in range(done, taps.size):
        if row_step == 1:
            copy_floats(w + taps[k] * 4, into + k * NR * 4, rows)
        else:
            for r in range(rows):
                store_float(into, k * NR + r, load_float(w, r * row_step + taps[k]))


@njit
def _pack(w, group_step, m, row_step, taps, block_starts, packed):
    for tile in range(packed.shape[0] * packed.shape[1]):
        _pack_tile(w, group_step, m, row_step, taps, block_starts, tile, packed)


@njit(parallel=True)
def _pack_parallel(w, group_step, m, row_step, taps, block_starts, packed):
    for tile in prange(packed.shape[0] * packed.shape[1]):
        _pack_tile(w, group_step, m, row_step, taps, block_starts, np.int64(tile), packed)


@part
def _pack_tile(w, group_step, m, row_step, taps, block_starts, tile, packed):
    group, t, tiles = tile // packed.shape[1], tile % packed.shape[1], packed.shape[1]
    rows, base = min(MR, m - t * MR), w + (group * group_step + t * MR * row_step) * 4
    for b in range(block_starts.size - 1):
        start, count = block_starts[b], block_starts[b + 1] - block_starts[b]
        into = packed[group].ctypes.data + (start * tiles + t * count) * MR * 4
        _pack_block(base, row_step, rows, taps[start:start + count], into)


@part
def _pack_block(w, row_step, rows, taps, into):
    """One tile's taps of a block."""
    done = 0
    if rows == MR and taps[-1] - taps[0] == taps.size - 1:               # taps that follow each other
        for k in range(0, taps.size - LANES + 1, LANES):
            interleave_rows(w + (taps[0] + k) * 4, row_step, into + k * MR * 4)
        done = taps.size - taps.size % LANES
    if taps.size > 1 and taps[1] - taps[0] > row_step:
        for k in range(taps.size):
            for r in range(rows):
                store_float(into, k * MR + r, load_float(w, r * row_step + taps[k]))
        return
    for r in range(rows):
        for k in range(done, taps.size):
            store_float(into, k * MR + r, load_float(w, r * row_step + taps[k]))
