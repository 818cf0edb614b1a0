"""Pack one sample as its plan demands (conv_plan.py)."""
import numpy as np

from tinyq.kernels.jit.compile import part
from tinyq.kernels.simd.memory_ops import (
    copy_even,
    copy_even_vector,
    copy_floats,
    copy_vector,
    load_float,
    store_float,
    transpose_tile,
)
from tinyq.kernels.simd.vectors import LANES

ZERO = np.float32(0)


@part
def pack_input(source, layout, channel, last_channel, row, last_row, padding, target):
    """Copy the image (channels, h, w) at address `source` into target, by stride phases, with `padding` around it.

    Only the channels channel ... last_channel - 1 and the plane's rows row ... last_row - 1 are filled; target is flat
    (phases, channels, *plane), and its further elements are the padding of the last row.
    """
    channels, h, w, into = layout.source_channels, layout.source_height, layout.source_width, target.ctypes.data
    height, width = layout.height, layout.width
    step_y, step_x, beginning = layout.step_y, layout.step_x, np.int64(0)
    readable = source + channels * h * w * 4
    for p in range(layout.phases.shape[0]):
        top, start = layout.phases[p, 0] + layout.origin_y, layout.phases[p, 1] + layout.origin_x
        first = min(max(0, -(start // step_x)), width)               # the first i with start + i * step_x >= 0
        last = max(first, min(width, (w - 1 - start) // step_x + 1))
        for c in range(channel, last_channel):
            writable = into + ((p * channels + c) * height + last_row) * width * 4      # up to here this call fills all
            for r in range(row, last_row):
                y, at = r * step_y + top, into + ((p * channels + c) * height + r) * width * 4
                if 0 <= y < h:
                    fill(at, beginning, first, padding)
                    run = source + ((c * h + y) * w + start + first * step_x) * 4
                    _copy_run(run, step_x, at + first * 4, last - first, readable, writable)
                    fill(at, last, width, padding)
                else:
                    fill(at, beginning, width, padding)
            # The right padding of the last row is the left one of the next, which this call may not fill.
            behind = (p * channels + c) * height + last_row
            if behind < layout.phases.shape[0] * channels * height:
                fill(into + behind * width * 4, beginning, layout.shared, padding)
    if last_channel == channels:
        fill(into, layout.phases.shape[0] * channels * height * width, target.size, padding)


@part
def fill(target, first, last, value):
    """target[first:last] = value, by address."""
    for i in range(first, last):
        store_float(target, i, value)


@part
def _copy_run(source, step, target, count, readable, writable):
    """target[i] = source[i * step], both addresses of float32; readable, writable: see copy_freely."""
    if step == 1:
        copy_freely(source, target, count, readable, writable)
    elif step == 2:
        _copy_even_freely(source, target, count, readable, writable)
    else:
        for i in range(count):
            store_float(target, i, load_float(source, step * i))


@part
def copy_freely(source, target, count, readable, writable):
    """Copy `count` float32 in whole vectors: up to LANES - 1 elements past the target are clobbered.

    The caller must store these afterwards. Nothing is read from the address `readable` on, and nothing written from
    `writable` on. A masked vector takes several times as long as a whole one.
    """
    at = 0
    while at < count and source + (at + LANES) * 4 <= readable and target + (at + LANES) * 4 <= writable:
        copy_vector(source + at * 4, target + at * 4)
        at += LANES
    if at < count:
        copy_floats(source + at * 4, target + at * 4, count - at)


@part
def _copy_even_freely(source, target, count, readable, writable):
    """Copy every second float32; see copy_freely."""
    at = 0
    while at < count and source + (at + LANES) * 8 <= readable and target + (at + LANES) * 4 <= writable:
        copy_even_vector(source + at * 8, target + at * 4)
        at += LANES
    if at < count:
        copy_even(source + at * 8, target + at * 4, count - at)


@part
def channels_last(source, first, target):
    """Pack source (channels, pixels) as target (tiles, rows, columns), pixel p in row first + p.

    Channel c is column c % columns of tile c // columns. Columns without a channel are left as they are.
    """
    channels, pixels = source.shape
    columns = target.shape[2]
    base, into = source.ctypes.data, target.ctypes.data + first * columns * 4
    tile = target.shape[1] * columns
    vector = channels - channels % LANES
    for c in range(0, vector if pixels >= LANES else 0, LANES):
        at = into + (c // columns * tile + c % columns) * 4
        for p in range(0, pixels, LANES):
            p = min(p, pixels - LANES)                               # the last ones overlap
            transpose_tile(base + (c * pixels + p) * 4, pixels, at + p * columns * 4, columns)
    for c in range(vector if pixels >= LANES else 0, channels):
        for p in range(pixels):
            target[c // columns, first + p, c % columns] = source[c, p]
