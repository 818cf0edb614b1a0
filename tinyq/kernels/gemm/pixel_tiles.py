"""The driver for small planes of many outputs: tiles of PIXELS pixels of packed samples by outputs side by side.

Weights lie in panels of NR outputs (k, NR), decoded block by block where they are in codes. The pixels of a packed
sample are read in place, so that none is gathered, and no lane is wasted at the end of a row. A task takes some panels
of one group of some samples. Every output is the sum that correlate.py computes, to the bit.
"""
from functools import lru_cache
from typing import NamedTuple

import numba
import numpy as np

from tinyq.kernels.contract import KC
from tinyq.kernels.gemm.coded_weights import BEHIND, Coded, decode_run
from tinyq.kernels.gemm.operands import Epilogue, Operands
from tinyq.kernels.gemm.store import finish_outputs, locate_outputs, store_outputs
from tinyq.kernels.geometry.conv_plan import Layout, Plan
from tinyq.kernels.geometry.packed_input import ZERO, pack_input
from tinyq.kernels.jit.compile import njit, part, prange
from tinyq.kernels.simd.memory_ops import load_float, transpose_tile
from tinyq.kernels.simd.register_tile import FLUSH, PIXELS, narrow_pixel_tile, pixel_tile
from tinyq.kernels.simd.vectors import LANES, NR

_RESIDENT = 1 << 17             # elements of packed samples that stay in a second-level cache next to a panel


class _Workspace(NamedTuple):
    """Buffers of all threads, along a first axis, or of one thread."""

    inputs: np.ndarray              # the packed samples
    decoded: np.ndarray             # a block of weights that are in codes
    totals: np.ndarray              # sums (samples * pixels and slack, NR)
    transposed: np.ndarray          # one sample's sums (NR, pixels and slack)


def correlate_pixels(operands: Operands, plan: Plan, epilogue: Epilogue, target: np.ndarray, coded: Coded) -> None:
    """Convolve (see select.convolve) with a plan that fills its target; weights of weight_panels.pack_panels."""
    samples, layout, threads = len(operands.source), plan.layout, numba.get_num_threads()
    groups, panels = operands.weights.shape[:2]
    chunks, parts = _split(samples, groups, panels, plan.size, threads)
    together, rows = -(-samples // chunks), _locate_rows(plan)
    workspace = _Workspace(
        inputs=np.empty((threads, together, 0 if layout.direct else plan.size + LANES), np.float32),
        decoded=np.empty((threads, KC * NR + BEHIND if coded.bits else 0), np.float32),
        totals=np.empty((threads, together * len(rows) + LANES, NR), np.float32),
        transposed=np.empty((threads, NR, -(-len(rows) // LANES) * LANES + NR), np.float32))
    _tasks(tuple(operands), tuple(coded), tuple(layout), tuple(epilogue), tuple(workspace), (chunks, parts), rows,
           target)


def _split(samples, groups, panels, size, threads):
    """Return (chunks of samples, parts of panels); a chunk fits a core's cache, so its weights are read once."""
    chunks = -(-samples // max(1, _RESIDENT // size))
    if samples * groups % threads == 0:
        return min(samples, -(-chunks // threads) * threads), 1
    return chunks, min(panels, threads)


@lru_cache(maxsize=256)
def _locate_rows(plan):
    """(tiles * PIXELS,) int64: the place of each pixel in the packed sample; the last is repeated to fill a tile."""
    pixels = plan.rows * plan.columns
    return plan.virtual[np.minimum(np.arange(-(-pixels // PIXELS) * PIXELS), pixels - 1)]


@njit(parallel=True)
def _tasks(operands_, coded_, layout_, epilogue_, workspace_, split, rows, target):
    operands, coded, layout = Operands(*operands_), Coded(*coded_), Layout(*layout_)
    epilogue, workspace = Epilogue(*epilogue_), _Workspace(*workspace_)
    chunks, parts = split
    source, m = operands.source, operands.m
    groups, panels = operands.weights.shape[:2]
    for index in prange(parts * groups * chunks):
        thread, task = numba.get_thread_id(), np.int64(index)
        part, group, chunk = task // chunks // groups, task // chunks % groups, task % chunks
        begin, end = source.shape[0] * chunk // chunks, source.shape[0] * (chunk + 1) // chunks
        channels = source.shape[1] // groups
        base, stride = source[begin, group * channels:].ctypes.data, source.strides[0]
        own = _Workspace(workspace.inputs[thread], workspace.decoded[thread], workspace.totals[thread],
                         workspace.transposed[thread])
        if not layout.direct:
            for i in range(begin, end):
                pack_input(base + (i - begin) * stride, layout, np.int64(0), channels, np.int64(0), layout.height,
                           ZERO, own.inputs[i - begin])
            base, stride = own.inputs.ctypes.data, own.inputs.strides[0]
        # Addresses are taken outside the loops: each costs a counted reference to its array.
        totals, transposed, transposed_stride = (own.totals.ctypes.data, own.transposed.ctypes.data,
                                                 own.transposed.shape[1])
        for panel in range(panels * part // parts, panels * (part + 1) // parts):
            count = min(NR, m - panel * NR)
            lanes = LANES if count <= LANES else NR
            _multiply(base, stride, end - begin, operands.weights, group * panels + panel, lanes, layout, rows, own,
                      coded)
            outputs = locate_outputs(epilogue, target, group * m + panel * NR)
            for i in range(begin, end):
                sums = totals + (i - begin) * rows.size * lanes * 4
                _transpose(sums, lanes, rows.size, transposed, transposed_stride)
                _store(transposed, transposed_stride, count, layout, i, outputs)


@part
def _multiply(base, stride, samples, packed, index, lanes, layout, rows, workspace, coded):
    """Sums (samples, pixels, lanes) of the samples `stride` bytes apart and one panel's outputs."""
    totals = workspace.totals
    totals[:] = 0
    blocks, panel = layout.block_starts, packed[index // packed.shape[1], index % packed.shape[1]].ctypes.data
    offsets, row, sums, decoded = (layout.offsets.ctypes.data, rows.ctypes.data, totals.ctypes.data,
                                   workspace.decoded.ctypes.data)
    for b in range(blocks.size - 1):
        start, k = blocks[b], blocks[b + 1] - blocks[b]
        weights = panel + start * NR * 4
        if coded.bits:
            weights = decoded
            at = coded.codes.ctypes.data + index * coded.run + start * NR * coded.bits // 8
            decode_run(coded, at, k * NR, weights)
        for i in range(samples):
            for p in range(0, rows.size, PIXELS):
                total = sums + (i * rows.size + p) * lanes * 4
                _tile(lanes, k, base + i * stride, row + p * 8, weights, offsets + start * 8, total)


@part
def _tile(lanes, k, sample, rows, weights, offsets, total):
    if lanes == NR:
        pixel_tile(k, sample, rows, NR, weights, offsets, total, total, FLUSH)
    else:
        narrow_pixel_tile(k, sample, rows, NR, weights, offsets, total, total, FLUSH)


@part
def _store(sums, stride, count, layout, sample, outputs):
    """Store and finish `count` planes of outputs of one sample."""
    pixels, into = layout.rows * layout.columns, outputs.target + sample * outputs.sample_stride
    for j in range(count):
        plane, run = into + j * outputs.plane_stride, sums + j * stride * 4
        scale, shift = load_float(outputs.scale, j), load_float(outputs.shift, j)
        for p in range(0, pixels, NR):
            store_outputs(run + p * 4, plane + p * 4, min(NR, pixels - p), pixels - p, 1, scale, shift)
        finish_outputs(outputs, sample, j, 0, pixels)


@part
def _transpose(sums, lanes, pixels, into, stride):
    """into[j, p] = sums[p, j], in squares of LANES, by address; stride: of a row of `into`."""
    for p in range(0, pixels, LANES):
        for j in range(0, lanes, LANES):
            transpose_tile(sums + (p * lanes + j) * 4, lanes, into + (j * stride + p) * 4, stride)
