"""Multiply weight rows with one packed input, tile by tile: the general convolution driver (conv_plan.py)."""
import numba
import numpy as np

from tinyq.kernels.gemm.coded_weights import NOT_CODED, decode_block, decoded_size
from tinyq.kernels.gemm.panels import correlate_panels
from tinyq.kernels.geometry.packed_input import ZERO, lay_out
from tinyq.kernels.geometry.spans import NO_IMAGES, contiguous
from tinyq.kernels.jit.compile import njit, part, prange
from tinyq.kernels.simd.memory_ops import finish_run, load_float, store_every_second, store_float, store_run
from tinyq.kernels.simd.register_tile import FLUSH, PACKED_ROWS, any_tile
from tinyq.kernels.simd.vectors import LANES, MR, NR

_TASKS_A_THREAD = 2
# Measured: what copying a piece of a panel costs in rows of the tile; weights (elements) that stay in the second-level
# cache, and how much longer all tiles take where they do not.
_PIECE_COST, _RESIDENT, _STREAMING_COST = 4, 1 << 17, 1.2


def correlate(source, packed, m, plan, scale, shift, target, added=NO_IMAGES, relu=False, coded=NOT_CODED, first=0):
    """Write scale * (weights x source) + shift to the places of target (n, channels, ., .) that the plan names.

    source (n, groups * plan.channels, ., .), packed (weights.pack_rows) of (groups, m, taps), scale and shift
    (groups * m,). Where the plan names all places, `added`, of target's shape, may be added, and the ReLU taken.
    coded: the weights in codes instead; then of packed only the first three axes count, and the last has size 0.
    first: of the target's channels, of which groups * m are written.
    """
    source, groups = contiguous(source), packed.shape[0]
    if not len(source):
        return
    if _panels_pay(plan, m):
        correlate_panels(source, packed, m, plan, scale, shift, target, added, relu, coded, first)
        return
    threads = numba.get_num_threads()
    parts = parts_of(source.shape[0] * groups, plan.rows, threads)
    layout = plan.layout
    if plan.virtual_pixels < NR:                                  # a whole tile needs slack behind the sample
        layout = layout._replace(direct=False)
    samples = np.empty((threads, 0 if layout.direct else plan.size + NR), np.float32)
    tiles = np.empty((threads, packed.shape[1] + 1, MR, NR), np.float32)               # slack for store_run
    decoded = np.empty((threads, decoded_size(packed, coded, packed.shape[2])), np.float32)
    _tasks(source, packed, m, parts, layout, scale, shift, samples, tiles, target, first, added, relu, coded, decoded)


def _panels_pay(plan, m):
    """Whether gathering costs less than the lanes that virtual pixels waste; the bits do not depend on it."""
    pixels = plan.rows * plan.columns
    pieces = NR // LANES + (0 if plan.is_source else NR / plan.columns)
    by_panels = pixels * (m + _PIECE_COST * pieces)
    by_sample = -(-plan.virtual_pixels // LANES) * LANES * m
    if m * len(plan.taps) > _RESIDENT:
        by_sample *= _STREAMING_COST
    return by_panels < by_sample


def parts_of(tasks, splittable, threads):
    """Into how many parts to split each task so that every thread has work."""
    wanted = 1 if threads == 1 else _TASKS_A_THREAD * threads
    return max(1, min(splittable, -(-wanted // max(1, tasks))))


@njit(parallel=True)
def _tasks(source, packed, m, parts, layout, scale, shift, samples, tiles, target, first, added, relu, coded, decoded):
    groups = packed.shape[0]
    for task in prange(source.shape[0] * groups * parts):
        thread = numba.get_thread_id()
        i, group, part = task // parts // groups, task // parts % groups, task % parts
        _task(source, packed, m, i, group, part, parts, layout, scale, shift, samples[thread], tiles[thread],
              target[i, first:], added, relu, coded, decoded[thread])


@part
def _task(source, packed, m, i, group, part, parts, layout, scale, shift, sample, tiles, target, added, relu, coded,
          decoded):
    """Rows `part` of `parts` of the outputs of one group of sample i, target (channels, ., .)."""
    rows, columns = layout.rows, layout.columns
    top, bottom = rows * part // parts, rows * (part + 1) // parts
    if top == bottom:
        return
    channels, width = source.shape[1] // packed.shape[0], layout.width
    image = source[i, group * channels:(group + 1) * channels]
    if layout.direct:
        base = image.ctypes.data
    else:
        lay_out(image.ctypes.data, layout, np.int64(0), channels, top, bottom + layout.height - rows, ZERO, sample)
        base = sample.ctypes.data
    weights = packed[group].ctypes.data
    if coded.bits:
        weights = decoded.ctypes.data
        for b in range(layout.block_starts.size - 1):
            start, count = layout.block_starts[b], layout.block_starts[b + 1] - layout.block_starts[b]
            decode_block(coded, group, b, 0, packed.shape[1], count, weights + start * packed.shape[1] * MR * 4)
    aligned = columns % NR == 0                                    # rows of whole tiles waste nothing
    end = columns if aligned else (bottom - top - 1) * width + columns
    for row in range(top, bottom, 1 if aligned else bottom - top):
        for x in range(0, end, NR):
            lanes = LANES if end - x <= LANES else NR
            q = row * width + x
            if layout.direct:
                q = min(q, (rows - 1) * width + columns - lanes)        # the source has no slack to read beyond
            _products(weights, packed.shape[1], base + q * 4, layout, lanes, tiles)
            _store(tiles, q, lanes, m, top, bottom, layout, scale[group * m:], shift[group * m:], target[group * m:])
    if relu or added.size:
        run = (bottom - top) * columns
        for c in range(group * m, (group + 1) * m):
            finish_run(target[c, top:].ctypes.data, added[i, c, top:].ctypes.data if added.size else 0, run, relu)


@part
def _products(weights, tiles_of_rows, base, layout, lanes, tiles):
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
        for t in range(tiles_of_rows):
            out = sums + t * MR * lanes * 4
            row = weights + (start * tiles_of_rows + t * count) * MR * 4
            any_tile(lanes, count, row, rows, MR, base, offsets + start * 8, out, out, flags)


@part
def _store(tiles, q, lanes, m, top, bottom, layout, scale, shift, target):
    """Scatter the tiles' virtual pixels q, q + 1, ... to the target, dropping those beyond a row's outputs."""
    columns, width, spread = layout.columns, layout.width, layout.spread_x
    plane = target.shape[1] * target.shape[2]
    sums, into = tiles.ctypes.data, target.ctypes.data
    y, x, lane = q // width, q % width, 0
    while lane < lanes and y < bottom:
        if x < columns and y >= top:                        # before the part's own rows lie those of another
            last = min(lane + columns - x, lanes)
            row = layout.first_y + y * layout.spread_y
            column = layout.first_x + x * spread
            at = row * target.shape[2] + column
            # Behind a run come the next rows of the same part, which are stored after it.
            follows = target.shape[2] == columns and layout.spread_y == 1
            room = bottom * target.shape[2] - at if follows else last - lane
            for r in range(m):
                run, place = sums + (r * lanes + lane) * 4, into + (r * plane + at) * 4
                if spread == 1:
                    store_run(run, place, last - lane, room, scale[r], shift[r])
                elif spread == 2:
                    store_every_second(run, place, last - lane, scale[r], shift[r])
                else:
                    _store_spread(run, last - lane, spread, scale[r], shift[r], place)
        lane += width - x
        y, x = y + 1, 0


@part
def _store_spread(run, count, spread, scale, shift, target):
    """store_run to every spread-th place."""
    for j in range(count):
        store_float(target, j * spread, (load_float(run, j) + np.float32(0)) * scale + shift)
