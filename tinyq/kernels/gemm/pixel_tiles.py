"""Products of weights with laid-out samples whose planes are small: tiles of PIXELS pixels by outputs side by side.

Weights lie in panels of NR outputs (k, NR), decoded block by block where they are in codes; the pixels of a
laid-out sample are read where they lie, so that none is gathered, and no lane is wasted on a row's end. A task takes
some panels of one group of some samples. Every output is the sum that correlate.py takes, to the bit.
"""
from functools import lru_cache

import numba
import numpy as np

from tinyq.kernels.contract import KC
from tinyq.kernels.gemm.coded_weights import BEHIND, NOT_CODED, decode_run
from tinyq.kernels.geometry.packed_input import ZERO, lay_out
from tinyq.kernels.geometry.spans import NO_IMAGES, contiguous
from tinyq.kernels.jit.compile import njit, part, prange
from tinyq.kernels.simd.memory_ops import finish_run, store_run, transpose_tile
from tinyq.kernels.simd.register_tile import FLUSH, PIXELS, narrow_pixel_tile, pixel_tile
from tinyq.kernels.simd.vectors import LANES, MR, NR

_MAX_PIXELS = 56 * 56          # of a plane: beyond, rows of outputs are long enough for correlate.py (measured)
_MAX_IDLE = 8 / 7              # as many times more lanes than correlate.py has rows still pay (measured)
_RESIDENT = 1 << 17             # elements of laid-out samples that stay in a second-level cache beside a panel


def pixels_pay(pixels, m) -> bool:
    """Whether this is the faster way to m outputs a group of planes of so many pixels; the bits do not depend on it.

    pixels None, where they are not known: it is not.
    """
    return pixels is not None and pixels <= _MAX_PIXELS and -(-m // LANES) * LANES <= -(-m // MR) * MR * _MAX_IDLE


def correlate_pixels(source, packed, m, plan, scale, shift, target, added=NO_IMAGES, relu=False, coded=NOT_CODED,
                     first=0):
    """What correlate.correlate does, of a plan that fills its target; packed (groups, panels, k, NR or 0)."""
    source, layout, threads = contiguous(source), plan.layout, numba.get_num_threads()
    if not len(source):
        return
    groups, panels = packed.shape[:2]
    chunks, parts = _split(len(source), groups, panels, plan.size, threads)
    together, rows = -(-len(source) // chunks), _rows(plan)
    laid_out = np.empty((threads, together, 0 if layout.direct else plan.size + LANES), np.float32)
    room = np.empty((threads, KC * NR + BEHIND if coded.bits else 0), np.float32)
    totals = np.empty((threads, together * len(rows) + LANES, NR), np.float32)
    turned = np.empty((threads, NR, -(-len(rows) // LANES) * LANES + NR), np.float32)
    _tasks(source, packed, m, chunks, parts, layout, rows, scale, shift, laid_out, room, totals, turned, target, first,
           added, relu, coded)


def _split(samples, groups, panels, size, threads):
    """(chunks of samples, parts of panels): a chunk stays in a core's cache, so that weights are read once for it."""
    chunks = -(-samples // max(1, _RESIDENT // size))
    if samples * groups % threads == 0:
        return min(samples, -(-chunks // threads) * threads), 1
    return chunks, min(panels, threads)


@lru_cache(maxsize=256)
def _rows(plan):
    """(tiles * PIXELS,) int64: where each pixel is laid out; beyond the last stands the last again."""
    pixels = plan.rows * plan.columns
    return plan.virtual[np.minimum(np.arange(-(-pixels // PIXELS) * PIXELS), pixels - 1)]


@njit(parallel=True)
def _tasks(source, packed, m, chunks, parts, layout, rows, scale, shift, laid_out, room, totals, turned, target, first,
           added, relu, coded):
    groups, panels = packed.shape[0], packed.shape[1]
    for task in prange(parts * groups * chunks):
        thread = numba.get_thread_id()
        part, group, chunk = task // chunks // groups, task // chunks % groups, task % chunks
        begin, end = source.shape[0] * chunk // chunks, source.shape[0] * (chunk + 1) // chunks
        channels = source.shape[1] // groups
        base, pitch = source[begin, group * channels:].ctypes.data, source.strides[0]
        if not layout.direct:
            for i in range(begin, end):
                lay_out(base + (i - begin) * pitch, layout, np.int64(0), channels, np.int64(0), layout.height, ZERO,
                        laid_out[thread, i - begin])
            base, pitch = laid_out[thread].ctypes.data, laid_out.strides[1]
        for panel in range(panels * part // parts, panels * (part + 1) // parts):
            outputs = group * m + panel * NR
            count = min(NR, m - panel * NR)
            lanes = LANES if count <= LANES else NR
            _multiply(base, pitch, end - begin, packed, np.int64(group), np.int64(panel), lanes, layout, rows,
                      room[thread], totals[thread], coded)
            for i in range(begin, end):
                sums = totals[thread].ctypes.data + (i - begin) * rows.size * lanes * 4
                _turn(sums, lanes, rows.size, turned[thread])
                _store(turned[thread], count, layout, scale[outputs:], shift[outputs:], target[i, first + outputs:],
                       added[i, outputs:] if added.size else target[i], added.size, relu)


@part
def _multiply(base, pitch, samples, packed, group, panel, lanes, layout, rows, room, totals, coded):
    """totals (samples, pixels, lanes) of the samples `pitch` bytes apart and one panel's outputs."""
    totals[:] = 0
    blocks, index = layout.block_starts, group * packed.shape[1] + panel
    offsets, row, sums = layout.offsets.ctypes.data, rows.ctypes.data, totals.ctypes.data
    for b in range(blocks.size - 1):
        start, k = blocks[b], blocks[b + 1] - blocks[b]
        if coded.bits:
            weights = room.ctypes.data
            at = coded.codes.ctypes.data + index * coded.run + start * NR * coded.bits // 8
            decode_run(coded, at, k * NR, weights)
        else:
            weights = packed[group, panel, start:].ctypes.data
        for i in range(samples):
            for p in range(0, rows.size, PIXELS):
                total = sums + (i * rows.size + p) * lanes * 4
                _tile(lanes, k, base + i * pitch, row + p * 8, weights, offsets + start * 8, total)


@part
def _tile(lanes, k, sample, rows, weights, offsets, total):
    if lanes == NR:
        pixel_tile(k, sample, rows, NR, weights, offsets, total, total, FLUSH)
    else:
        narrow_pixel_tile(k, sample, rows, NR, weights, offsets, total, total, FLUSH)


@part
def _store(turned, count, layout, scale, shift, target, added, adds, relu):
    """`count` planes of outputs of one sample; target and added (channels, ., .)."""
    pixels = layout.rows * layout.columns
    for j in range(count):
        into, run = target[j].ctypes.data, turned[j].ctypes.data
        for p in range(0, pixels, NR):
            store_run(run + p * 4, into + p * 4, min(NR, pixels - p), pixels - p, scale[j], shift[j])
        if relu or adds:
            finish_run(into, added[j].ctypes.data if adds else 0, pixels, relu)


@part
def _turn(sums, lanes, pixels, turned):
    """turned[j, p] = sums[p, j], in squares of LANES."""
    pitch = turned.shape[1]
    for p in range(0, pixels, LANES):
        for j in range(0, lanes, LANES):
            transpose_tile(sums + (p * lanes + j) * 4, lanes, turned.ctypes.data + (j * pitch + p) * 4, pitch)
