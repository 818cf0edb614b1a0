"""Multiply matrices in the contract's order, on the register tile of register_tile.py.

Compiled code gets addresses and strides, so that one specialisation serves every layout of the operands.
"""
from typing import NamedTuple

import numba
import numpy as np

from tinyq.kernels.contract import KC
from tinyq.kernels.gemm.store import store_outputs
from tinyq.kernels.geometry.spans import count_parts, strided
from tinyq.kernels.jit.compile import njit, part, prange
from tinyq.kernels.simd.memory_ops import copy_floats, load_float, store_float, transpose_tile
from tinyq.kernels.simd.register_tile import FLUSH, PANEL, tile
from tinyq.kernels.simd.vectors import LANES, MR, NR

# Below this many products waking the other threads costs more than they save.
MIN_PARALLEL_SIZE = 1 << 19


class _Factors(NamedTuple):
    """a (m, k) and b (k, n) by address; strides count elements."""

    k: int
    a: int
    a_column: int
    b: int
    b_row: int
    b_column: int
    rows: np.ndarray                # int64: where each row of a begins


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a (m, k) @ b (k, n), float32, any strides -> C-contiguous (m, n)."""
    (m, k), n = a.shape, b.shape[1]
    assert b.shape[0] == k, f"matmul: {a.shape} does not fit {b.shape}"
    a, b = strided(a), strided(b)
    if not a.size or not b.size:
        return np.zeros((m, n), np.float32)
    row_stride, column_stride = (s // a.itemsize for s in a.strides)
    rows = np.minimum(np.arange(-(-m // MR) * MR), m - 1) * row_stride      # beyond the last: the last again
    factors = _Factors(k=k, a=a.ctypes.data, a_column=column_stride, b=b.ctypes.data, b_row=b.strides[0] // b.itemsize,
                       b_column=b.strides[1] // b.itemsize, rows=rows)
    threads = numba.get_num_threads()
    parts = count_parts(-(-n // NR), len(rows) // MR, threads)
    out = np.empty((m, n), np.float32)
    panel = np.empty((threads, KC, NR), np.float32)
    tiles = np.empty((threads, len(rows) // MR, MR, NR), np.float32)
    tasks = _alone if m * n * k < MIN_PARALLEL_SIZE else _tasks
    tasks(tuple(factors), parts, panel, tiles, out)
    return out


@njit(parallel=True)
def _tasks(factors_, parts, panel, tiles, out):
    factors = _Factors(*factors_)
    for task in prange(-(-out.shape[1] // NR) * parts):
        thread = numba.get_thread_id()
        _task(factors, np.int64(task), parts, panel[thread], tiles[thread], out)


@njit
def _alone(factors_, parts, panel, tiles, out):
    factors = _Factors(*factors_)
    for task in range(-(-out.shape[1] // NR) * parts):
        _task(factors, task, parts, panel[0], tiles[0], out)


@part
def _task(factors, task, parts, panel, tiles, out):
    """Row tiles `task % parts` of `parts` for NR columns of outputs."""
    k, a, a_column, b, b_row, b_column, rows = factors
    column, part = task // parts * NR, task % parts
    first, last = tiles.shape[0] * part // parts, tiles.shape[0] * (part + 1) // parts
    width = min(NR, out.shape[1] - column)
    row, columns, offsets, sums = (                                  # outside the loop: a counted reference each
        rows.ctypes.data, panel.ctypes.data, PANEL.ctypes.data, tiles.ctypes.data)
    one_block = k <= KC
    if not one_block:
        tiles[first:last] = 0
    for start in range(0, k, KC):
        count = min(KC, k - start)
        _pack(b + (start * b_row + column * b_column) * 4, b_row, b_column, count, width, columns)
        for t in range(first, last):
            if one_block:
                tile(count, a, row + t * MR * 8, a_column, columns, offsets, sums, sums, 0)
                _store(sums, t, column, width, out)
            else:
                total = sums + t * MR * NR * 4
                tile(count, a + start * a_column * 4, row + t * MR * 8, a_column, columns, offsets, total, total, FLUSH)
    if not one_block:
        for t in range(first, last):
            _store(sums + t * MR * NR * 4, t, column, width, out)


@part
def _store(sums, t, column, width, out):
    """Store row tile t at its place in out: a scale of 1 and a shift of -0 change no sum."""
    into, row = out.ctypes.data + (t * MR * out.shape[1] + column) * 4, out.shape[1] * 4
    for r in range(min(MR, out.shape[0] - t * MR)):
        store_outputs(sums + r * NR * 4, into + r * row, width, width, 1, np.float32(1), np.float32(-0.0))


@part
def _pack(b, b_row, b_column, count, width, panel):
    """panel (count, NR) = the matrix (count, width) at address b with these strides; other columns are undefined."""
    rows, columns = count - count % LANES, width - width % LANES
    if b_row == 1:                                                   # columns lie in memory: transpose blocks of them
        for j in range(0, columns, LANES):
            for i in range(0, rows, LANES):
                transpose_tile(b + (i + j * b_column) * 4, b_column, panel + (i * NR + j) * 4, NR)
        _copy_elements(b, b_row, b_column, 0, rows, columns, width, panel)
        _copy_elements(b, b_row, b_column, rows, count, 0, width, panel)
    elif b_column == 1:
        for i in range(count):
            copy_floats(b + i * b_row * 4, panel + i * NR * 4, width)
    else:
        _copy_elements(b, b_row, b_column, 0, count, 0, width, panel)


@part
def _copy_elements(b, b_row, b_column, first_row, last_row, first_column, last_column, panel):
    for j in range(first_column, last_column):
        for i in range(first_row, last_row):
            store_float(panel, i * NR + j, load_float(b, i * b_row + j * b_column))
