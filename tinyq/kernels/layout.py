"""Laying one sample out as its plan says (see plan.py)."""
from tinyq.kernels.compile import njit
from tinyq.kernels.micro import LANES, copy_even, copy_floats, peek, poke, transpose_tile


@njit
def lay_out(source, layout, channel_range, row_range, target):
    """Copy source (channels, h, w) into target, split into stride phases, the padding around it left as it is (zero).

    Only the channels and plane rows in the two ranges are filled; target is flat (phases, channels, *plane).
    """
    channels, h, w = source.shape
    base, into = source.ctypes.data, target.ctypes.data         # outside the loops: a counted reference each
    height, width = layout.plane[0], layout.plane[1]
    step_y, step_x = layout.step[0], layout.step[1]
    for p in range(layout.phases.shape[0]):
        top, start = layout.phases[p, 0] + layout.origin[0], layout.phases[p, 1] + layout.origin[1]
        first = min(max(0, -(start // step_x)), width)               # the first i with start + i * step_x >= 0
        last = max(first, min(width, (w - 1 - start) // step_x + 1))
        for c in range(channel_range[0], channel_range[1]):
            for r in range(row_range[0], row_range[1]):
                y = r * step_y + top
                if 0 <= y < h:
                    run = base + ((c * h + y) * w + start + first * step_x) * 4
                    at = into + (((p * channels + c) * height + r) * width + first) * 4
                    _copy_run(run, step_x, at, last - first)


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

    Channel c is column c % columns of tile c // columns. What no channel maps to is left as it is (zero).
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
