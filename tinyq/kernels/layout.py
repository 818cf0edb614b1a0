"""Laying one sample out as its plan says (see plan.py)."""
import numpy as np

from tinyq.kernels.compile import njit
from tinyq.kernels.micro import LANES, copy_even, copy_floats, peek, poke, transpose_tile

ZERO = np.float32(0)


@njit
def lay_out(source, layout, channel_range, row_range, padding, target):
    """Copy source (channels, h, w) into target, split into stride phases, with `padding` around it.

    Only the channels and plane rows in the two ranges are filled; target is flat (phases, channels, *plane), and what
    it has more is the padding of the last row.
    """
    channels, h, w = source.shape
    base, into = source.ctypes.data, target.ctypes.data         # outside the loops: a counted reference each
    height, width = layout.height, layout.width
    step_y, step_x = layout.step_y, layout.step_x
    # A row's right padding is the next one's left, which may not be filled by this call: as much as all phases have.
    shared = min(max(0, -((layout.phases[:, 1].max() + layout.origin_x) // step_x)), width)
    for p in range(layout.phases.shape[0]):
        top, start = layout.phases[p, 0] + layout.origin_y, layout.phases[p, 1] + layout.origin_x
        first = min(max(0, -(start // step_x)), width)               # the first i with start + i * step_x >= 0
        last = max(first, min(width, (w - 1 - start) // step_x + 1))
        for c in range(channel_range[0], channel_range[1]):
            for r in range(row_range[0], row_range[1]):
                y, at = r * step_y + top, into + ((p * channels + c) * height + r) * width * 4
                if 0 <= y < h:
                    _fill(at, 0, first, padding)
                    run = base + ((c * h + y) * w + start + first * step_x) * 4
                    _copy_run(run, step_x, at + first * 4, last - first)
                    _fill(at, last, width, padding)
                else:
                    _fill(at, 0, width, padding)
            behind = (p * channels + c) * height + row_range[1]
            if behind < layout.phases.shape[0] * channels * height:
                _fill(into + behind * width * 4, 0, shared, padding)
    if channel_range[1] == channels:
        _fill(into, layout.phases.shape[0] * channels * height * width, target.size, padding)


@njit
def _fill(target, first, last, value):
    for i in range(first, last):
        poke(target, i, value)


@njit
def _copy_run(source, step, target, count):
    """target[i] = source[i * step], both addresses of float32."""
    if step == 1:
        copy_floats(source, target, count)
    elif step == 2:
        copy_even(source, target, count)
    else:
        for i in range(count):
            poke(target, i, peek(source, step * i))


@njit
def channels_last(source, first, target):
    """Lay source (channels, pixels) out as target (tiles, rows, columns), pixel p in row first + p.

    Channel c is column c % columns of tile c // columns. What no channel maps to is left as it is.
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
