"""Laying one sample out as its plan says (see plan.py)."""
from tinyq.kernels.compile import njit


@njit
def lay_out(source, phases, step, origin, plane, channel_range, row_range, target):
    """Copy source (channels, h, w) into target, zero-padded and split into stride phases.

    Only the channels and plane rows in the two ranges are filled; target is flat (phases, channels, *plane).
    """
    channels, h, w = source.shape
    height, width = plane
    for p in range(phases.shape[0]):
        for c in range(channel_range[0], channel_range[1]):
            for r in range(row_range[0], row_range[1]):
                at = ((p * channels + c) * height + r) * width
                y = r * step[0] + phases[p, 0] + origin[0]
                if y < 0 or y >= h:
                    target[at:at + width] = 0
                else:
                    _copy_row(source[c, y], phases[p, 1] + origin[1], step[1], target[at:at + width])


@njit
def _copy_row(row, start, step, target):
    """target[i] = row[start + i * step], 0 outside the row."""
    w, width = row.shape[0], target.shape[0]
    first = min(max(0, -(start // step)), width)                 # the first i with start + i * step >= 0
    last = max(first, min(width, (w - 1 - start) // step + 1))
    target[:first] = 0
    if step == 1:
        target[first:last] = row[start + first:start + last]
    else:
        for i in range(first, last):
            target[i] = row[start + i * step]
    target[last:] = 0
