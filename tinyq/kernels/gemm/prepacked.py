"""A product with weights that stay: packed once, its affine, an addition and a ReLU done where it is stored."""
from typing import NamedTuple

import numba
import numpy as np

from tinyq.kernels.contract import KC
from tinyq.kernels.gemm.coded_weights import BEHIND, NOT_CODED, Coded, code_rows, decode_run
from tinyq.kernels.gemm.correlate import correlate
from tinyq.kernels.gemm.level_runs import (
    MAX_LEVELS,
    PANELS_AT_ONCE,
    bits_for,
    can_decode,
    coded_float_row_2,
    coded_float_row_4,
    encode,
)
from tinyq.kernels.gemm.pixel_tiles import correlate_pixels, pixels_pay
from tinyq.kernels.gemm.weight_panels import pack_rows
from tinyq.kernels.geometry.conv_plan import forward_plan
from tinyq.kernels.geometry.spans import NO_IMAGES, contiguous
from tinyq.kernels.jit.compile import njit, part, prange
from tinyq.kernels.simd.register_tile import FLUSH, PANEL, tile
from tinyq.kernels.simd.vectors import MR, NR

_FEW = 3                                # samples up to which a register tile would be mostly idle


class PackedWeights(NamedTuple):
    """Weights as the kernels read them: floats, or codes and an array of size 0 that has the floats' first axes.

    by_pixels: a convolution's, in panels as a linear layer's (see pixel_tiles.py).
    """

    floats: np.ndarray
    coded: Coded
    by_pixels: bool = False

    @property
    def nbytes(self) -> int:
        """Of all that stays in memory."""
        return self.floats.nbytes + self.coded.codes.nbytes + self.coded.table.nbytes


def pack_weights(w, groups, pixels=None):
    """What conv2d_packed takes of the weights w (c_out, c_in / groups, kh, kw); pixels: of a plane of y, if known."""
    if pixels_pay(pixels, len(w) // groups):
        panels = -(-len(w) // groups // NR)
        return PackedWeights(_grouped_panels(w, groups, panels, np.float32(0)), NOT_CODED, True)
    taps = w[0].size
    block_starts = np.append(np.arange(0, taps, KC), taps)
    return PackedWeights(pack_rows(w, groups, len(w) // groups, taps, np.arange(taps), block_starts), NOT_CODED)


def code_weights(w, groups, levels, pixels=None):
    """The same of weights that are levels (ascending float32): they stay in codes where the target can decode them."""
    if not _can_code(levels):
        return pack_weights(w, groups, pixels)
    m = len(w) // groups
    if pixels_pay(pixels, m):
        panels = _grouped_panels(w, groups, -(-m // NR), levels[0])
        return PackedWeights(np.empty((*panels.shape[:3], 0), np.float32),
                             _code_panels(panels.reshape(-1, *panels.shape[2:]), levels), True)
    rows = np.full((groups, -(-m // MR) * MR, *w.shape[1:]), levels[0])      # whole tiles: every code is one
    rows[:, :m] = w.reshape(groups, m, *w.shape[1:])
    packed = pack_weights(rows.reshape(-1, *w.shape[1:]), groups).floats
    return PackedWeights(np.empty((*packed.shape[:3], 0), np.float32), code_rows(packed, levels, bits_for(len(levels))))


def _grouped_panels(w, groups, panels, fill):
    return np.stack([_panels(part, panels, fill) for part in w.reshape(groups, len(w) // groups, -1)])


def conv2d_packed(x, packed, geometry, scale, shift, added, relu, into=None, first=0):
    """scale * (x * w) + shift, `added` (of the output's shape, or None) added to it, and its ReLU if `relu`.

    scale and shift (c_out,). Each of the four steps rounds, as when they are done one after the other. into: an array
    (n, channels, oh, ow) whose channels from `first` on become the output, which is then a view of them.
    """
    assert x.shape == geometry.x_shape, (x.shape, geometry)
    plan, m = forward_plan(geometry), geometry.w_shape[0]
    target = np.empty(geometry.output_shape, np.float32) if into is None else into
    y = target[:, first:first + m]
    assert y.shape == geometry.output_shape and target.flags.carray, (y.shape, geometry)
    added = NO_IMAGES if added is None else contiguous(added)
    assert not added.size or added.shape == y.shape
    run = correlate_pixels if packed.by_pixels else correlate
    run(x, packed.floats, m // geometry.groups, plan, contiguous(scale), contiguous(shift), target, added, relu,
        packed.coded, first)
    return y if into is not None else target


def pack_linear(w):
    """What linear_packed takes of the weights w (out, in): (tiles, in, NR), outputs beside each other."""
    return PackedWeights(_panels(w, -(-len(w) // NR), np.float32(0)), NOT_CODED)


def code_linear(w, levels):
    """The same of weights that are levels, which stay in codes (see code_weights)."""
    if not _can_code(levels):
        return pack_linear(w)
    tiles = -(-len(w) // (NR * PANELS_AT_ONCE)) * PANELS_AT_ONCE
    coded = _code_panels(_panels(w, tiles, levels[0]), levels)
    return PackedWeights(np.empty((tiles, w.shape[1], 0), np.float32), coded)


def _code_panels(panels, levels):
    """The codes of panels (panels, k, NR), a run each."""
    codes, table = encode(panels.reshape(len(panels), -1), levels)
    return Coded(bits_for(len(levels)), len(panels), codes.shape[1], codes.shape[1], 1, codes.reshape(-1), table)


def _can_code(levels):
    return can_decode() and len(levels) <= MAX_LEVELS


def _panels(w, tiles, fill):
    packed = np.full((tiles, w.shape[1], NR), fill, np.float32)
    for t in range(-(-len(w) // NR)):
        packed[t, :, :len(w) - t * NR] = w[t * NR:(t + 1) * NR].T
    return packed


def linear_packed(x, packed, scale, shift, relu):
    """scale * (x @ w.T) + shift, and its ReLU if `relu`; x (n, in), scale and shift (out,).

    A register tile is some samples by NR outputs: one sample wastes its other rows, but the weights, which are
    what takes the time then, come in one stream. Codes of few samples are decoded in registers.
    """
    n, k = x.shape
    y, threads = np.empty((n, len(scale)), np.float32), numba.get_num_threads()
    x, scale, shift, coded = contiguous(x), contiguous(scale), contiguous(shift), packed.coded
    if n and coded.bits and n <= _FEW:
        _linear_coded_rows(x, coded, scale, shift, relu, y)
    elif n:
        rows = np.minimum(np.arange(-(-n // MR) * MR), n - 1) * k       # beyond the last: the last again
        tiles = np.empty((threads, len(rows) // MR, MR, NR), np.float32)
        room = np.empty((threads, KC * NR + BEHIND if coded.bits else 0), np.float32)
        _linear_tasks(x, rows, packed.floats, coded, scale, shift, relu, tiles, room, y)
    return y


@njit(parallel=True)
def _linear_tasks(x, rows, packed, coded, scale, shift, relu, tiles, room, y):
    for task in prange(packed.shape[0]):
        thread = numba.get_thread_id()
        _linear_task(x, rows, packed, coded, scale, shift, relu, np.int64(task), tiles[thread], room[thread], y)


@part
def _linear_task(x, rows, packed, coded, scale, shift, relu, task, tiles, room, y):
    """The NR outputs of one panel, of all samples."""
    tiles[:] = 0
    k = packed.shape[1]
    a, row, b, offsets, sums = (                                     # outside the loops: a counted reference each
        x.ctypes.data, rows.ctypes.data, packed[task].ctypes.data, PANEL.ctypes.data, tiles.ctypes.data)
    for start in range(0, k, KC):
        count = min(KC, k - start)
        panel = b + start * NR * 4
        if coded.bits:
            panel = room.ctypes.data
            at = coded.codes.ctypes.data + task * coded.run + start * NR * coded.bits // 8
            decode_run(coded, at, count * NR, panel)
        for t in range(tiles.shape[0]):
            total = sums + t * MR * NR * 4
            tile(count, a + start * 4, row + t * MR * 8, 1, panel, offsets, total, total, FLUSH)
    for i in range(y.shape[0]):
        _finish(tiles[i // MR, i % MR], task * NR, scale, shift, relu, y[i])


@njit(parallel=True)
def _linear_coded_rows(x, coded, scale, shift, relu, y):
    """Sample by sample, PANELS_AT_ONCE panels a task."""
    for task in prange(coded.tiles // PANELS_AT_ONCE):
        codes = coded.codes.ctypes.data + task * PANELS_AT_ONCE * coded.run
        totals = np.empty((PANELS_AT_ONCE, NR), np.float32)
        for i in range(y.shape[0]):
            totals[:] = 0
            _coded_row(x[i], codes, coded, totals)
            for p in range(PANELS_AT_ONCE):
                _finish(totals[p], (task * PANELS_AT_ONCE + p) * NR, scale, shift, relu, y[i])


@part
def _coded_row(x, codes, coded, totals):
    table = coded.table.ctypes.data
    if coded.bits == 2:
        coded_float_row_2(x.size, x.ctypes.data, codes, coded.run, table, totals.ctypes.data)
    else:
        coded_float_row_4(x.size, x.ctypes.data, codes, coded.run, table, totals.ctypes.data)


@part
def _finish(sums, first, scale, shift, relu, y):
    """Outputs `first` ... of one sample from their sums."""
    for j in range(first, min(first + NR, y.size)):
        value = (sums[j - first] + np.float32(0)) * scale[j] + shift[j]
        y[j] = np.float32(0) if relu and value <= 0 else value
