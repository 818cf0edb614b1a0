"""The forward core: products of weight rows with a laid-out sample, tile by tile (plan.py says what is laid out how)."""
import numba
import numpy as np

from tinyq.kernels.compile import njit, prange
from tinyq.kernels.layout import lay_out
from tinyq.kernels.micro import COLUMNS, FLUSH, LANES, ROWS, any_tile, peek, store_run

_PACKED_ROWS = np.arange(ROWS)
_TASKS_A_THREAD = 2


def correlate(source, weights, plan, scale, shift, target):
    """Write scale * (weights x source) + shift to the places of target (n, groups * m, ., .) that the plan names.

    source (n, groups * plan.channels, ., .), weights (groups, m, taps), scale and shift (groups * m,).
    """
    groups, m, _ = weights.shape
    n = source.shape[0]
    threads = numba.get_num_threads()
    parts = parts_of(n * groups, plan.rows, threads)
    direct = plan.is_source and plan.virtual_pixels >= COLUMNS
    packed = pack_rows(weights)
    samples = np.zeros((threads, 0 if direct else plan.size + COLUMNS), np.float32)        # the padding stays zero
    tiles = np.empty((threads, packed.shape[1], ROWS, COLUMNS), np.float32)
    _tasks(np.ascontiguousarray(source), packed, m, parts, direct, plan.phases, plan.step, plan.origin, plan.plane,
           (plan.rows, plan.columns), plan.first, plan.spread, plan.offsets, plan.block_starts, scale, shift, samples, tiles,
           target)


def parts_of(tasks, splittable, threads):
    """Into how many parts to split each task so that every thread has work; never changes a bit."""
    wanted = 1 if threads == 1 else _TASKS_A_THREAD * threads
    return max(1, min(splittable, -(-wanted // tasks)))


def pack_rows(weights):
    """(groups, m, k) -> (groups, tiles, k, ROWS), rows padded with zeros."""
    groups, m, k = weights.shape
    packed = np.zeros((groups, -(-m // ROWS), k, ROWS), np.float32)
    whole = m // ROWS
    packed[:, :whole] = weights[:, :whole * ROWS].reshape(groups, whole, ROWS, k).swapaxes(2, 3)
    if m % ROWS:
        packed[:, whole, :, :m % ROWS] = weights[:, whole * ROWS:].swapaxes(1, 2)
    return packed


@njit(parallel=True)
def _tasks(source, packed, m, parts, direct, phases, step, origin, plane, outputs, first, spread, offsets, blocks,
           scale, shift, samples, tiles, target):
    groups = packed.shape[0]
    for task in prange(source.shape[0] * groups * parts):
        thread = numba.get_thread_id()
        _task(source, packed, m, task // parts // groups, task // parts % groups, task % parts, parts, direct, phases, step,
              origin, plane, outputs, first, spread, offsets, blocks, scale, shift, samples[thread], tiles[thread], target)


@njit
def _task(source, packed, m, i, group, part, parts, direct, phases, step, origin, plane, outputs, first, spread, offsets,
          blocks, scale, shift, sample, tiles, target):
    """Rows `part` of `parts` of the outputs of one group of sample i."""
    top, bottom = outputs[0] * part // parts, outputs[0] * (part + 1) // parts
    if top == bottom:
        return
    channels = source.shape[1] // packed.shape[0]
    image = source[i, group * channels:(group + 1) * channels]
    if direct:
        base = image.ctypes.data
    else:
        lay_out(image, phases, step, origin, plane, (0, channels), (top, bottom + plane[0] - outputs[0]), sample)
        base = sample.ctypes.data
    end = (bottom - 1) * plane[1] + outputs[1]
    for q in range(top * plane[1], end, COLUMNS):
        columns = LANES if end - q <= LANES else COLUMNS
        if direct:
            q = min(q, (outputs[0] - 1) * plane[1] + outputs[1] - columns)       # the source has no slack to read beyond
        _products(packed[group], base + q * 4, offsets, blocks, columns, tiles)
        _store(tiles, q, columns, m, plane[1], bottom, outputs[1], first, spread, scale[group * m:], shift[group * m:],
               target[i, group * m:])


@njit
def _products(packed, base, offsets, blocks, columns, tiles):
    """All rows' sums for `columns` virtual pixels: blocks of k ascending, each from +0, added to the total."""
    k = packed.shape[1]
    one_block = blocks.shape[0] == 2
    if not one_block:
        tiles[:] = 0
    for b in range(blocks.shape[0] - 1):
        start, count = blocks[b], blocks[b + 1] - blocks[b]
        for t in range(packed.shape[0]):
            out = tiles.ctypes.data + t * ROWS * columns * 4
            any_tile(columns, count, packed.ctypes.data + (t * k + start) * ROWS * 4, _PACKED_ROWS.ctypes.data, ROWS, base,
                     offsets.ctypes.data + start * 8, out, out, 0 if one_block else FLUSH)


@njit
def _store(tiles, q, columns, m, width, bottom, row_outputs, first, spread, scale, shift, target):
    """Scatter the tiles' virtual pixels q, q + 1, ... to the target, dropping those beyond a row's outputs."""
    plane = target.shape[1] * target.shape[2]
    y, x, lane = q // width, q % width, 0
    while lane < columns and y < bottom:
        if x < row_outputs:
            last = min(lane + row_outputs - x, columns)
            at = (first[0] + y * spread[0]) * target.shape[2] + first[1] + x * spread[1]
            if spread[1] == 1:
                for r in range(m):
                    store_run(tiles.ctypes.data + r * columns * 4, target.ctypes.data + (r * plane + at - lane) * 4, lane, last,
                              scale[r], shift[r])
            else:
                _store_spread(tiles, columns, lane, last, m, at, spread[1], scale, shift, target)
        lane += width - x
        y, x = y + 1, 0


@njit
def _store_spread(tiles, columns, lane, last, m, at, spread, scale, shift, target):
    width = target.shape[2]
    y, x = at // width, at % width
    for r in range(m):
        row = tiles.ctypes.data + (r * columns + lane) * 4
        for j in range(last - lane):
            target[r, y, x + j * spread] = (peek(row, j) + np.float32(0)) * scale[r] + shift[r]
