"""Laying one sample out as its plan says (see plan.py)."""
from tinyq.kernels.compile import njit
from tinyq.kernels.micro import LANES, copy_floats, peek, poke, transpose_tile


@njit
def lay_out(source, layout, channel_range, row_range, target):
    """Copy source (channels, h, w) into target, split into stride phases, the padding around it left as it is (zero).

    Only the channels and plane rows in the two ranges are filled; target is flat (phases, channels, *plane).
    """
    channels, h, w = source.shape
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
                    at = ((p * channels + c) * height + r) * width
                    _copy_row(source, c, y, start, step_x, first, last, target, at)


@njit
def _copy_row(source, c, y, start, step, first, last, target, at):
    """target[at + i] = source[c, y, start + i * step] for first <= i < last."""
    base = source.ctypes.data + ((c * source.shape[1] + y) * source.shape[2] + start + first * step) * 4
    into = target.ctypes.data + (at + first) * 4
    if step == 1:
        copy_floats(base, into, last - first)
    elif step == 2:                                                  # a constant step is vectorised
        for i in range(last - first):
            poke(into, i, peek(base, 2 * i))
    else:
        for i in range(last - first):
            poke(into, i, peek(base, step * i))


@njit
def channels_last(source, virtual, target):
    """Lay source (channels, pixels) out as target (tiles, virtual pixels, columns), pixel p at virtual[p].

    Channel c is column c % columns of tile c // columns. What no pixel or channel maps to is left as it is (zero).
    """
    channels, pixels = source.shape
    columns = target.shape[2]
    whole, vector = pixels - pixels % LANES, channels - channels % LANES
    for c in range(0, vector, LANES):
        into = target[c // columns].ctypes.data + (c % columns) * 4
        for p in range(0, whole, LANES):
            transpose_tile(source.ctypes.data + (c * pixels + p) * 4, pixels, into, virtual.ctypes.data + p * 8,
                           columns)
    for c in range(channels):
        for p in range(whole if c < vector else 0, pixels):
            target[c // columns, virtual[p], c % columns] = source[c, p]
