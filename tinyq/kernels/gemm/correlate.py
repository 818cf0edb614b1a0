"""The general convolution driver: walk the virtual pixels of one packed sample, tile by tile (conv_plan.py)."""
from typing import NamedTuple

import numba
import numpy as np

from tinyq.kernels.gemm.coded_weights import Coded, decode_block, decoded_size
from tinyq.kernels.gemm.operands import Epilogue, Operands
from tinyq.kernels.gemm.store import finish_outputs, locate_outputs, store_outputs
from tinyq.kernels.geometry.conv_plan import Layout, Plan
from tinyq.kernels.geometry.packed_input import ZERO, pack_input
from tinyq.kernels.geometry.spans import count_parts
from tinyq.kernels.jit.compile import njit, part, prange
from tinyq.kernels.simd.memory_ops import load_float
from tinyq.kernels.simd.register_tile import FLUSH, PACKED_ROWS, any_packed_tile
from tinyq.kernels.simd.vectors import LANES, MR, NR


class _Workspace(NamedTuple):
    """Buffers of all threads, along a first axis, or of one thread."""

    samples: np.ndarray             # the packed sample
    tiles: np.ndarray               # sums (tiles of rows and one of slack for store_run, MR, NR)
    decoded: np.ndarray             # weights that are in codes


class _Task(NamedTuple):
    """Rows top ... bottom - 1 of the outputs of one group of one sample."""

    sample: int
    group: int
    top: int
    bottom: int


def correlate_samples(operands: Operands, plan: Plan, epilogue: Epilogue, target: np.ndarray, coded: Coded) -> None:
    """Convolve (see select.convolve), sample by sample; weights of weight_panels.pack_rows."""
    threads, weights = numba.get_num_threads(), operands.weights
    parts = count_parts(operands.source.shape[0] * weights.shape[0], plan.rows, threads)
    layout = plan.layout
    if plan.virtual_pixels < NR:                                       # a whole tile needs slack after the sample
        layout = layout._replace(direct=False)
    workspace = _Workspace(
        samples=np.empty((threads, 0 if layout.direct else plan.size + NR), np.float32),
        tiles=np.empty((threads, weights.shape[1] + 1, MR, NR), np.float32),
        decoded=np.empty((threads, decoded_size(weights, coded, weights.shape[2])), np.float32))
    _tasks(tuple(operands), tuple(coded), tuple(layout), tuple(epilogue), tuple(workspace), parts, target)


@njit(parallel=True)
def _tasks(operands_, coded_, layout_, epilogue_, workspace_, parts, target):
    operands, coded, layout = Operands(*operands_), Coded(*coded_), Layout(*layout_)
    epilogue, workspace = Epilogue(*epilogue_), _Workspace(*workspace_)
    groups = operands.weights.shape[0]
    for index in prange(operands.source.shape[0] * groups * parts):
        thread, task = numba.get_thread_id(), np.int64(index)
        i, group, part = task // parts // groups, task // parts % groups, task % parts
        top, bottom = layout.rows * part // parts, layout.rows * (part + 1) // parts
        own = _Workspace(workspace.samples[thread], workspace.tiles[thread], workspace.decoded[thread])
        if top < bottom:
            _convolve_rows(operands, coded, layout, epilogue, own, _Task(i, group, top, bottom), target)


@part
def _convolve_rows(operands, coded, layout, epilogue, workspace, task, target):
    rows, columns, width = layout.rows, layout.columns, layout.width
    i, group, top, bottom = task
    m, row_tiles = operands.m, operands.weights.shape[1]
    base = _locate_input(operands, layout, workspace, task)
    weights = _locate_weights(operands, coded, layout, workspace, group)
    outputs, tiles = locate_outputs(epilogue, target, group * m), workspace.tiles
    aligned = columns % NR == 0                                         # rows of whole tiles waste nothing
    end = columns if aligned else (bottom - top - 1) * width + columns
    for row in range(top, bottom, 1 if aligned else bottom - top):
        for x in range(0, end, NR):
            lanes = LANES if end - x <= LANES else NR
            q = row * width + x
            if layout.direct:
                q = min(q, (rows - 1) * width + columns - lanes)        # the source has no slack to read beyond
            _multiply(weights, row_tiles, base + q * 4, layout, lanes, tiles)
            _store(tiles, q, lanes, m, task, layout, outputs)
    for r in range(m):
        finish_outputs(outputs, i, r, top * columns, (bottom - top) * columns)


@part
def _locate_input(operands, layout, workspace, task):
    """Address of the group's channels of the sample, packed unless they have that layout already."""
    i, group, top, bottom = task
    channels = operands.source.shape[1] // operands.weights.shape[0]
    image = operands.source[i, group * channels:].ctypes.data
    if layout.direct:
        return image
    pack_input(image, layout, np.int64(0), channels, top, bottom + layout.height - layout.rows, ZERO,
               workspace.samples)
    return workspace.samples.ctypes.data


@part
def _locate_weights(operands, coded, layout, workspace, group):
    """Address of the group's weights, decoded if they are in codes."""
    if coded.bits == 0:
        return operands.weights[group].ctypes.data
    weights, row_tiles = workspace.decoded.ctypes.data, operands.weights.shape[1]
    for b in range(layout.block_starts.size - 1):
        start, count = layout.block_starts[b], layout.block_starts[b + 1] - layout.block_starts[b]
        decode_block(coded, group, b, 0, row_tiles, count, weights + start * row_tiles * MR * 4)
    return weights


@part
def _multiply(weights, row_tiles, base, layout, lanes, tiles):
    """All rows' sums for `lanes` virtual pixels: blocks of k ascending, each from +0, added to the total."""
    blocks = layout.block_starts
    one_block = blocks.shape[0] == 2
    flags = 0 if one_block else FLUSH
    if not one_block:
        tiles[:] = 0
    # Addresses are taken outside the loop: each costs a counted reference to its array.
    rows, offsets, sums = PACKED_ROWS.ctypes.data, layout.offsets.ctypes.data, tiles.ctypes.data
    for b in range(blocks.shape[0] - 1):
        start, count = blocks[b], blocks[b + 1] - blocks[b]
        for t in range(row_tiles):
            out = sums + t * MR * lanes * 4
            row = weights + (start * row_tiles + t * count) * MR * 4
            any_packed_tile(lanes, count, row, rows, MR, base, offsets + start * 8, out, out, flags)


@part
def _store(tiles, q, lanes, m, task, layout, outputs):
    """Scatter the tiles' virtual pixels q, q + 1, ... to the target, dropping those beyond a row's outputs."""
    columns, width, spread = layout.columns, layout.width, layout.spread_x
    target_width = outputs.row_stride // 4
    sums, into = tiles.ctypes.data, outputs.target + task.sample * outputs.sample_stride
    # After a run come the next rows of the same task, which are stored after it.
    follows = target_width == columns and layout.spread_y == 1
    y, x, lane = q // width, q % width, 0
    while lane < lanes and y < task.bottom:
        if x < columns and y >= task.top:                   # before the task's own rows lie those of another
            last = min(lane + columns - x, lanes)
            at = (layout.first_y + y * layout.spread_y) * target_width + layout.first_x + x * spread
            writable = task.bottom * target_width - at if follows else last - lane
            for r in range(m):
                store_outputs(sums + (r * lanes + lane) * 4, into + r * outputs.plane_stride + at * 4, last - lane,
                              writable, spread, load_float(outputs.scale, r), load_float(outputs.shift, r))
        lane += width - x
        y, x = y + 1, 0
