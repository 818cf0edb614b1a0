"""The driver for small images: tiles of outputs of several samples, gathered into panels block by block.

Where a row of outputs is shorter than a tile, walking a packed sample by virtual pixels (correlate.py) wastes lanes,
and reads all weights again for every tile. Here the outputs of all samples are numbered one after the other; a task
takes some tiles of NR of them, the last of LANES where that is enough. For every block of k it packs the channels that
the block reads, gathers each tile's pixels into a panel (block, NR) that stays in the first-level cache, and
multiplies it with all rows.
"""
from typing import NamedTuple

import numba
import numpy as np

from tinyq.kernels.contract import KC
from tinyq.kernels.gemm.coded_weights import Coded, decode_block, decoded_size
from tinyq.kernels.gemm.operands import Epilogue, Operands
from tinyq.kernels.gemm.store import finish_outputs, locate_outputs, store_outputs
from tinyq.kernels.geometry.conv_plan import Layout, Plan
from tinyq.kernels.geometry.packed_input import ZERO, pack_input
from tinyq.kernels.jit.compile import njit, part, prange
from tinyq.kernels.simd.memory_ops import copy_vector, load_float, load_index, store_float
from tinyq.kernels.simd.register_tile import FLUSH, PACKED_ROWS, PANEL, any_packed_tile
from tinyq.kernels.simd.vectors import LANES, MR, NR

_MAX_TILES = 16                # per task: their panels use a block of weights while it is in the second-level cache


class _Workspace(NamedTuple):
    """Buffers of all threads, along a first axis, or of one thread."""

    inputs: np.ndarray              # the packed samples
    panels: np.ndarray              # one panel, with slack for a last piece
    totals: np.ndarray              # sums (tiles and one of slack for store_run, MR, NR)
    tables: np.ndarray              # int64 (2, pieces): where pieces are read and written
    starts: np.ndarray              # int64: the first piece of each tile
    decoded: np.ndarray             # a block of weights that are in codes


class _Task(NamedTuple):
    """Outputs begin ... end - 1 of all samples, of the row tiles top ... bottom - 1 of a group."""

    group: int
    begin: int
    end: int
    top: int
    bottom: int


def correlate_panels(operands: Operands, plan: Plan, epilogue: Epilogue, target: np.ndarray, coded: Coded) -> None:
    """Convolve (see select.convolve) by gathered panels; weights of weight_panels.pack_rows."""
    groups, row_tiles = operands.weights.shape[:2]
    threads, pixels = numba.get_num_threads(), plan.rows * plan.columns
    samples = len(operands.source)
    tiles = -(-samples * pixels // NR)
    chunks = -(-tiles // min(_MAX_TILES, max(1, -(-tiles // threads))))
    chunks = -(-chunks // threads) * threads if groups % threads else chunks
    chunks = min(chunks, tiles)
    parts = min(row_tiles, -(-threads // (groups * chunks)))
    vectors_of_chunk = -(-samples * pixels // (LANES * chunks))
    most = -(-vectors_of_chunk * LANES // NR)
    held = min(samples, (most * NR - 1) // pixels + 2)
    pieces = most * (NR // LANES + NR // plan.columns + 3)
    workspace = _Workspace(
        inputs=np.empty((threads, 0 if plan.is_source else held, plan.size + LANES), np.float32),
        panels=np.empty((threads, (KC + 1) * NR), np.float32),
        totals=np.empty((threads, most * -(-row_tiles // parts) + 1, MR, NR), np.float32),
        tables=np.empty((threads, 2, pieces), np.int64),
        starts=np.empty((threads, most + 1), np.int64),
        decoded=np.empty((threads, decoded_size(operands.weights, coded, KC)), np.float32))
    _tasks(tuple(operands), tuple(coded), tuple(plan.layout), tuple(epilogue), tuple(workspace), (chunks, parts),
           target)


@njit(parallel=True)
def _tasks(operands_, coded_, layout_, epilogue_, workspace_, split, target):
    operands, coded, layout = Operands(*operands_), Coded(*coded_), Layout(*layout_)
    epilogue, workspace = Epilogue(*epilogue_), _Workspace(*workspace_)
    chunks, parts = split
    groups, row_tiles = operands.weights.shape[:2]
    count = operands.source.shape[0] * layout.rows * layout.columns
    vectors = -(-count // LANES)
    for index in prange(groups * chunks * parts):
        thread, task = numba.get_thread_id(), np.int64(index)
        group, chunk, part = task // parts // chunks, task // parts % chunks, task % parts
        own = _Workspace(workspace.inputs[thread], workspace.panels[thread], workspace.totals[thread],
                         workspace.tables[thread], workspace.starts[thread], workspace.decoded[thread])
        outputs = _Task(group, vectors * chunk // chunks * LANES, min(vectors * (chunk + 1) // chunks * LANES, count),
                        row_tiles * part // parts, row_tiles * (part + 1) // parts)
        _convolve_outputs(operands, coded, layout, epilogue, own, outputs, target)


@part
def _convolve_outputs(operands, coded, layout, epilogue, workspace, task, target):
    """Multiply block by block of k, then store."""
    pixels = layout.rows * layout.columns
    channels = operands.source.shape[1] // operands.weights.shape[0]
    source, m = operands.source[:, task.group * channels:(task.group + 1) * channels], operands.m
    packed, totals = operands.weights[task.group], workspace.totals
    rows = task.bottom - task.top
    tiles = -(-(task.end - task.begin) // NR)
    totals[:tiles * rows] = 0
    _multiply(source, packed, coded, layout, workspace, task, tiles)
    outputs = locate_outputs(epilogue, target, task.group * m)
    top, bottom = task.top * MR, min(m, task.bottom * MR)
    for t in range(tiles):
        p = task.begin + t * NR
        _store(totals[t * rows:].ctypes.data, _lanes(task.end - p), p, min(task.end, p + NR), top, bottom, layout,
               outputs)
    p = task.begin
    while p < task.end:
        sample, inside = p // pixels, p % pixels
        length = min(pixels - inside, task.end - p)
        for r in range(top, bottom):
            finish_outputs(outputs, sample, r, inside, length)
        p += length


@part
def _multiply(source, packed, coded, layout, workspace, task, tiles):
    """Add the products of all blocks of k to the totals of `tiles` tiles."""
    pixels, blocks, inputs = layout.rows * layout.columns, layout.block_starts, workspace.inputs
    sample, beyond = task.begin // pixels, (task.end - 1) // pixels + 1
    sample_stride = source.strides[0] // 4 if layout.direct else inputs.shape[1]
    table, starts = workspace.tables, workspace.starts
    _locate_pieces(task.begin, task.end, layout, sample_stride, table, starts)
    # The last address from which a whole vector may be read.
    if layout.direct:
        base = source[sample].ctypes.data
        limit = base + ((beyond - 1 - sample) * sample_stride + source[sample].size - LANES) * 4
    else:
        base = inputs.ctypes.data
        limit = base + (inputs.size - LANES) * 4
    rows, row_tiles = task.bottom - task.top, packed.shape[0]
    weights, offsets, sums, panel, decoded = (packed.ctypes.data, layout.offsets.ctypes.data,
                                              workspace.totals.ctypes.data, workspace.panels.ctypes.data,
                                              workspace.decoded.ctypes.data)
    ready = layout.channels[0]
    for b in range(blocks.size - 1):
        start, k = blocks[b], blocks[b + 1] - blocks[b]
        if not layout.direct:
            needed = layout.channels[blocks[b + 1] - 1] + 1
            for s in range(sample, beyond):
                pack_input(source[s].ctypes.data, layout, ready, needed, np.int64(0), layout.height, ZERO,
                           inputs[s - sample])
            ready = max(ready, needed)
        first_row = weights + (start * row_tiles + task.top * k) * MR * 4
        if coded.bits:
            first_row = decoded
            decode_block(coded, task.group, b, task.top, task.bottom, k, first_row)
        for t in range(tiles):
            _gather(base, limit, offsets + start * 8, k, table, starts[t], starts[t + 1], panel)
            lanes = _lanes(task.end - task.begin - t * NR)
            for r in range(rows):
                total = sums + (t * rows * NR + r * lanes) * MR * 4
                row = first_row + r * k * MR * 4
                any_packed_tile(lanes, k, row, PACKED_ROWS.ctypes.data, MR, panel, PANEL.ctypes.data, total, total,
                                FLUSH)


@part
def _lanes(pixels):
    """Columns of a tile for this many pixels."""
    return LANES if pixels <= LANES else NR


@part
def _locate_pieces(begin, end, layout, sample_stride, table, starts):
    """Cut the runs of each tile into pieces of at most LANES, at table[0] in the source and table[1] in the panel.

    Pieces starts[t] ... starts[t + 1] - 1 are those of tile t, ascending, so that the elements that one copies too
    many are overwritten by the next.
    """
    pixels, columns, width, n, p = layout.rows * layout.columns, layout.columns, layout.width, 0, begin
    for t in range(starts.size):
        starts[t] = n
        stop = min(end, begin + (t + 1) * NR)
        while p < stop:
            sample, inside = p // pixels, p % pixels
            y, x = inside // columns, inside % columns
            length = min(columns - x, stop - p)
            source, lane = (sample - begin // pixels) * sample_stride + y * width + x, (p - begin) % NR
            if columns == width:                            # rows follow each other
                length = min(pixels - inside, stop - p)
            for piece in range(0, length, LANES):
                table[0, n], table[1, n] = source + piece, lane + piece
                n += 1
            p += length


@part
def _gather(base, limit, offsets, k, table, first, last, panel):
    """panel[i, lane] = the source at offsets[i] from each pixel of the tile."""
    for i in range(k):
        at, into = base + load_index(offsets, i) * 4, panel + i * NR * 4
        for piece in range(first, last):
            read, write = at + table[0, piece] * 4, into + table[1, piece] * 4
            if read <= limit:
                copy_vector(read, write)
            else:
                for j in range((limit - read) // 4 + LANES):
                    store_float(write, j, load_float(read, j))


@part
def _store(sums, lanes, begin, end, top, bottom, layout, outputs):
    """Scatter outputs begin ... end - 1 of rows top ... bottom - 1 from their tiles."""
    pixels, columns, spread = layout.rows * layout.columns, layout.columns, layout.spread_x
    width = outputs.row_stride // 4
    # True if the outputs of a sample are contiguous.
    whole = spread == layout.spread_y == 1 and columns == width
    p = begin
    while p < end:
        sample, inside = p // pixels, p % pixels
        y, x = inside // columns, inside % columns
        length = min(pixels - inside if whole else columns - x, end - p)
        at = (layout.first_y + y * layout.spread_y) * width + layout.first_x + x * spread
        into = outputs.target + sample * outputs.sample_stride + at * 4
        for r in range(top, bottom):
            store_outputs(sums + ((r - top) * lanes + p - begin) * 4, into + r * outputs.plane_stride, length, length,
                          spread, load_float(outputs.scale, r), load_float(outputs.shift, r))
        p += length
