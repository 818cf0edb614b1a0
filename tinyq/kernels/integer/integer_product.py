"""Convolutions and linear layers of integer codes: rows of codes gathered tile by tile, panels of levels decoded once.

A task takes some tiles of output pixels and some panels of NR outputs. It gathers the codes each pixel reads into
a row (directly from the image where they lie side by side), then decodes one panel after the other and multiplies it
with all of its tiles. Images are (n, h, w, c), so that what a pixel reads comes in runs.
"""
from typing import NamedTuple

import numba
import numpy as np

from tinyq.kernels.integer.code_moves import copy_bytes, copy_exactly, copy_runs, fill_codes
from tinyq.kernels.integer.coded_rows import coded_row_2, coded_row_4, even_row, sum_of_row
from tinyq.kernels.integer.dots import (
    SMALL_APART,
    byte_row,
    decode_2,
    decode_4,
    decode_8,
    short_row,
    short_tile,
    small_tile,
)
from tinyq.kernels.integer.requantise import (
    finish_bytes,
    finish_bytes_added,
    finish_ints,
    finish_shorts,
    finish_shorts_added,
)
from tinyq.kernels.integer.tile_shape import LANES, MR, NR, SHORT_LEVEL_BYTES, VECTOR_BYTES, ZERO_CODE
from tinyq.kernels.integer.tiles import begin_tiles, byte_tile, end_tiles
from tinyq.kernels.jit.compile import njit, part, prange

SLACK = 4 * VECTOR_BYTES                # bytes behind every buffer that whole vectors may touch
MAX_GATHERED = 1 << 18                # bytes of rows at a time: a quarter of a second-level cache


class Fields(NamedTuple):
    """One product: addresses of the batch's buffers, sizes and settings. Sizes count elements unless they say bytes."""

    x: int                      # addresses of codes: input, output, added codes or 0
    y: int
    added: int
    samples: int                # the image
    height: int
    width: int
    channels: int
    rows: int                   # the outputs of a sample
    columns: int
    taps_y: int                 # the window
    taps_x: int
    stride_y: int
    stride_x: int
    top: int                    # padding
    left: int
    dilation_y: int
    dilation_x: int
    groups: int
    group_channels: int
    group_outputs: int
    outputs: int                # channels of the output
    size: int                   # bytes per code of x
    result_size: int            # bytes per code of y
    steps: int                  # the inner product, in steps of 4 bytes of codes
    padding: int                # the code around an image
    panels: int                 # weights: panels of NR outputs per group, in 1 or 2 halves that are added
    halves: int
    codes: int                  # address of the packed levels, each of `bits` bits
    bits: int
    panel_bytes: int
    table: int                  # address of the levels that the codes stand for
    small: int                  # 1: no level is beyond MAX_SMALL
    min_level: int              # of evenly spaced levels, and the distance between two; 0 and 0 for others
    level_step: int
    multiplier: int             # requantisation (requantise.py): addresses, one number per output
    offset: int
    shift: int
    low: int
    high: int
    added_multiplier: int
    added_shift: int
    direct: int                 # 1: rows of codes are read from the image, not gathered
    coded: int                  # 1: codes of levels are multiplied without decoding
    row_stride: int             # bytes from one gathered row to the next
    blocks: int                 # tasks: blocks of tiles times groups times parts of a group's panels
    parts: int
    scratch: int                # address of the threads' buffers
    scratch_bytes: int          # bytes per thread


@njit(parallel=True)
def product(f):
    """Compute one product; f: Fields."""
    for task in prange(f.blocks * f.groups * f.parts):
        block, group, which = task // f.parts // f.groups, task // f.parts % f.groups, task % f.parts
        scratch = f.scratch + numba.get_thread_id() * f.scratch_bytes
        _task(f, np.int64(block), np.int64(group), np.int64(which), np.int64(scratch))


@part
def _task(f, block, group, which, scratch):
    pixels = f.samples * f.rows * f.columns
    tiles = -(-pixels // MR)
    first, last = tiles * block // f.blocks, tiles * (block + 1) // f.blocks
    begin, end = f.panels * which // f.parts, f.panels * (which + 1) // f.parts
    if first == last or begin == end:
        return
    sums = scratch + SLACK
    levels = sums + MR * NR * 4
    gathered = levels + f.steps * NR * 4 * f.halves + SLACK * 8
    if f.direct:
        start, row_stride = f.x + (first * MR * f.channels + group * f.group_channels) * f.size, f.channels * f.size
    else:
        start, row_stride = gathered, f.row_stride
        _gather(f, first * MR, min(last * MR, pixels), group, gathered)
    if f.coded:
        for r in range(pixels):                             # so that bytes after the row add nothing
            row = gathered + r * row_stride
            fill_codes(row + f.group_channels, row_stride - f.group_channels, ZERO_CODE, 1)
            base = f.min_level * sum_of_row(f.group_channels, row) if f.level_step else 0
            for panel in range(begin, end):
                _coded_row(f, panel, row, base, sums)
                _finish(f, r, 1, group, panel, sums)
        return
    begin_tiles()
    for panel in range(begin, end):
        table = _levels_of(f, group * f.panels + panel, levels)
        for t in range(first, last):
            count = min(MR, pixels - t * MR)
            rows = start + (t - first) * MR * row_stride
            for half in range(f.halves):
                _multiply(f, count, rows, row_stride, table + half * f.steps * NR * 4, sums, half)
            _finish(f, t * MR, count, group, panel, sums)
    end_tiles()


@part
def _coded_row(f, panel, row, base, sums):
    packed, vectors = f.codes + panel * f.panel_bytes, f.panel_bytes // VECTOR_BYTES
    if f.level_step:
        even_row(vectors, packed, f.level_step, base, row, sums)
    elif f.bits == 2:
        coded_row_2(vectors, packed, f.table, row, sums)
    else:
        coded_row_4(vectors, packed, f.table, row, sums)


@part
def _levels_of(f, panel, buffer):
    """Return the address of the panel's levels, decoded into `buffer` unless they are stored as bytes."""
    packed = f.codes + panel * f.panel_bytes
    if f.bits == 8 and (f.size == 1 or SHORT_LEVEL_BYTES == 1):
        return packed
    vectors, short = f.panel_bytes // VECTOR_BYTES, (f.size - 1) * (SHORT_LEVEL_BYTES - 1)
    if f.bits == 2:
        decode_2(packed, vectors, f.table, buffer, short)
    elif f.bits == 4:
        decode_4(packed, vectors, f.table, buffer, short)
    else:
        decode_8(packed, vectors, f.table, buffer, short)
    return buffer


@part
def _multiply(f, count, rows, row_stride, levels, sums, resume):
    """Compute the sums of `count` rows, row by row if most of a tile would be idle."""
    few = count * 4 <= MR
    if f.size == 1:
        if few:
            byte_row(f.steps, count, rows, row_stride, levels, sums, resume)
        elif SMALL_APART and f.small:
            small_tile(f.steps, count, rows, row_stride, levels, sums, resume)
        else:
            byte_tile(f.steps, count, rows, row_stride, levels, sums, resume)
    elif few:
        short_row(f.steps, count, rows, row_stride, levels, sums, resume)
    else:
        short_tile(f.steps, count, rows, row_stride, levels, sums, resume)


@part
def _finish(f, pixel, count, group, panel, sums):
    """Requantise and store the tile's sums: whole vectors of outputs, then the remaining outputs."""
    first = panel * NR
    valid = min(NR, f.group_outputs - first)
    start = pixel * f.outputs + group * f.group_outputs + first
    parameters = (group * f.panels + panel) * NR
    for v in range(-(-valid // LANES)):
        at = (start + v * LANES) * f.result_size
        codes, added, row = f.y + at, f.added + at, sums + v * LANES * 4
        multiplier, offset = f.multiplier + (parameters + v * LANES) * 4, f.offset + (parameters + v * LANES) * 8
        row_stride = f.outputs * f.result_size
        if (v + 1) * LANES <= valid:
            _finish_vector(f, count, row, multiplier, offset, added, codes, row_stride)
        else:
            staging = sums - SLACK
            for r in range(count):
                _finish_vector(f, 1, row + r * NR * 4, multiplier, offset, added + r * row_stride, staging, row_stride)
                copy_exactly(staging, codes + r * row_stride, (valid - v * LANES) * f.result_size)


@part
def _finish_vector(f, rows, sums, multiplier, offset, added, codes, row_stride):
    s, low, high, by, left = f.shift, f.low, f.high, f.added_multiplier, f.added_shift
    if f.result_size == 1:
        if f.added:
            finish_bytes_added(rows, sums, multiplier, offset, s, low, high, added, by, left, codes, row_stride)
        else:
            finish_bytes(rows, sums, multiplier, offset, s, low, high, added, by, left, codes, row_stride)
    elif f.result_size == 2:
        if f.added:
            finish_shorts_added(rows, sums, multiplier, offset, s, low, high, added, by, left, codes, row_stride)
        else:
            finish_shorts(rows, sums, multiplier, offset, s, low, high, added, by, left, codes, row_stride)
    else:
        finish_ints(rows, sums, multiplier, offset, s, low, high, added, by, left, codes, row_stride)


@part
def _gather(f, begin, end, group, rows):
    """Copy the codes that output pixels begin ... end - 1 read: one row (taps_y, taps_x, group channels) per pixel."""
    pixels, size = f.rows * f.columns, f.size
    base = f.x + group * f.group_channels * size
    run, line = f.group_channels * size, f.width * f.channels * size
    dense = f.dilation_x == 1 and f.groups == 1
    reach_x, reach_y = (f.taps_x - 1) * f.dilation_x, (f.taps_y - 1) * f.dilation_y
    # The columns whose taps all lie inside: from `inner` to before `outer`.
    inner = -(-f.left // f.stride_x)
    outer = (f.width - 1 - reach_x + f.left) // f.stride_x + 1 if f.width - 1 - reach_x + f.left >= 0 else 0
    p = begin
    while p < end:
        sample, inside = p // pixels, p % pixels
        row, column = inside // f.columns, inside % f.columns
        y, x = row * f.stride_y - f.top, column * f.stride_x - f.left
        image, target = base + sample * f.height * line, rows + (p - begin) * f.row_stride
        count = min(min(outer, f.columns) - column, end - p)
        if dense and y >= 0 and y + reach_y < f.height and column >= inner and count > 0:
            copy_runs(count, image + y * line + x * f.channels * size, f.stride_x * f.channels * size, f.taps_y,
                      f.dilation_y * line, f.taps_x * run, target, f.row_stride)
            p += count
        else:
            _gather_pixel(f, image, y, x, dense, target)
            p += 1


@part
def _gather_pixel(f, image, y, x, dense, row):
    """Gather one pixel; taps outside the image read the padding code."""
    size = f.size
    run = f.group_channels * size
    for ky in range(f.taps_y):
        iy, into = y + ky * f.dilation_y, row + ky * f.taps_x * run
        if iy < 0 or iy >= f.height:
            fill_codes(into, f.taps_x * f.group_channels, f.padding, size)
        elif dense:
            before = min(f.taps_x, max(0, -x))
            behind = min(f.taps_x - before, max(0, x + f.taps_x - f.width))
            inner = f.taps_x - before - behind
            copy_bytes(image + (iy * f.width + x + before) * f.channels * size, into + before * run, inner * run)
            fill_codes(into, before * f.group_channels, f.padding, size)
            fill_codes(into + (before + inner) * run, behind * f.group_channels, f.padding, size)
        else:
            for kx in range(f.taps_x):
                ix = x + kx * f.dilation_x
                if ix < 0 or ix >= f.width:
                    fill_codes(into + kx * run, f.group_channels, f.padding, size)
                else:
                    copy_bytes(image + (iy * f.width + ix) * f.channels * size, into + kx * run, run)
