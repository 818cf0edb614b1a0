"""The forward core for small images: tiles of outputs of several samples, gathered into panels block by block.

Where a row of outputs is shorter than a tile, walking a laid-out sample by virtual pixels (correlate.py) wastes lanes,
and reads all weights anew for every tile. Here the outputs of all samples are numbered one after the other; a task
takes some tiles of NR of them, the last of LANES where that is enough. For every block of k it lays out the
channels the block reads, gathers each tile's pixels into a panel (block, NR) that stays in the first-level cache,
and multiplies it with all rows.
"""
import numba
import numpy as np

from tinyq.kernels.contract import KC
from tinyq.kernels.gemm.coded_weights import decode_block, decoded_size
from tinyq.kernels.geometry.packed_input import ZERO, lay_out
from tinyq.kernels.jit.compile import njit, part, prange
from tinyq.kernels.simd.memory_ops import (
    copy_vector,
    finish_run,
    load_float,
    load_index,
    store_every_second,
    store_float,
    store_run,
)
from tinyq.kernels.simd.register_tile import FLUSH, PACKED_ROWS, PANEL, any_tile
from tinyq.kernels.simd.vectors import LANES, MR, NR

_MAX_TILES = 16                # of a task: their panels use a block of weights while it is in the second-level cache


def correlate_panels(source, packed, m, plan, scale, shift, target, added, relu, coded, first):
    """What correlate.correlate does."""
    groups, row_tiles = packed.shape[:2]
    threads, pixels = numba.get_num_threads(), plan.rows * plan.columns
    samples = source.shape[0]
    tiles = -(-samples * pixels // NR)
    chunks = -(-tiles // min(_MAX_TILES, max(1, -(-tiles // threads))))
    chunks = -(-chunks // threads) * threads if groups % threads else chunks
    chunks = min(chunks, tiles)
    parts = min(row_tiles, -(-threads // (groups * chunks)))
    vectors_of_chunk = -(-samples * pixels // (LANES * chunks))
    most = -(-vectors_of_chunk * LANES // NR)
    held = min(samples, (most * NR - 1) // pixels + 2)
    pieces = most * (NR // LANES + NR // plan.columns + 3)
    laid_out = np.empty((threads, 0 if plan.is_source else held, plan.size + LANES), np.float32)
    panels = np.empty((threads, (KC + 1) * NR), np.float32)                     # slack for a last piece
    totals = np.empty((threads, most * -(-row_tiles // parts) + 1, MR, NR), np.float32)  # and for store_run
    tables = np.empty((threads, 2, pieces), np.int64)
    starts = np.empty((threads, most + 1), np.int64)
    decoded = np.empty((threads, decoded_size(packed, coded, KC)), np.float32)
    _tasks(source, packed, m, chunks, parts, plan.layout, scale, shift, laid_out, panels, totals, tables, starts,
           target, first, added, relu, coded, decoded)


@njit(parallel=True)
def _tasks(source, packed, m, chunks, parts, layout, scale, shift, laid_out, panels, totals, tables, starts, target,
           first, added, relu, coded, decoded):
    for task in prange(packed.shape[0] * chunks * parts):
        thread = numba.get_thread_id()
        group, chunk, part = task // parts // chunks, task // parts % chunks, task % parts
        channels = source.shape[1] // packed.shape[0]
        _task(source[:, group * channels:(group + 1) * channels], packed[group], m, chunk, chunks, part, parts, layout,
              scale[group * m:], shift[group * m:], laid_out[thread], panels[thread], totals[thread], tables[thread],
              starts[thread], target[:, first + group * m:], added[:, group * m:], relu, coded, np.int64(group),
              decoded[thread])


@part
def _task(source, packed, m, chunk, chunks, part, parts, layout, scale, shift, laid_out, panel, totals, table, starts,
          target, added, relu, coded, group, decoded):
    """Outputs `chunk` of `chunks` of the row tiles `part` of `parts`."""
    pixels = layout.rows * layout.columns
    count = source.shape[0] * pixels
    vectors = -(-count // LANES)
    begin, end = vectors * chunk // chunks * LANES, min(vectors * (chunk + 1) // chunks * LANES, count)
    top, bottom = packed.shape[0] * part // parts, packed.shape[0] * (part + 1) // parts
    sample, beyond = begin // pixels, (end - 1) // pixels + 1
    pitch = source.strides[0] // 4 if layout.direct else laid_out.shape[1]
    _pieces(begin, end, pixels, layout, pitch, table, starts)
    rows, blocks = bottom - top, layout.block_starts
    tiles = -(-(end - begin) // NR)
    totals[:tiles * rows] = 0
    # The last address from which a whole vector may be read.
    if layout.direct:
        base = source[sample].ctypes.data
        limit = base + ((beyond - 1 - sample) * pitch + source[sample].size - LANES) * 4
    else:
        base = laid_out.ctypes.data
        limit = base + (laid_out.size - LANES) * 4
    weights, offsets, sums, room = (packed.ctypes.data, layout.offsets.ctypes.data, totals.ctypes.data,
                                    panel.ctypes.data)
    ready = layout.channels[0]
    for b in range(blocks.size - 1):
        start, k = blocks[b], blocks[b + 1] - blocks[b]
        if not layout.direct:
            needed = layout.channels[blocks[b + 1] - 1] + 1
            for s in range(sample, beyond):
                lay_out(source[s].ctypes.data, layout, ready, needed, np.int64(0), layout.height, ZERO,
                        laid_out[s - sample])
            ready = max(ready, needed)
        first_row = weights + (start * packed.shape[0] + top * k) * MR * 4
        if coded.bits:
            first_row = decoded.ctypes.data
            decode_block(coded, group, b, top, bottom, k, first_row)
        for t in range(tiles):
            _gather(base, limit, offsets + start * 8, k, table, starts[t], starts[t + 1], room)
            lanes = _lanes(end - begin - t * NR)
            for r in range(rows):
                total = sums + (t * rows * NR + r * lanes) * MR * 4
                row = first_row + r * k * MR * 4
                any_tile(lanes, k, row, PACKED_ROWS.ctypes.data, MR, room, PANEL.ctypes.data, total, total, FLUSH)
    for t in range(tiles):
        p = begin + t * NR
        _store(totals[t * rows:(t + 1) * rows + 1], _lanes(end - p), p, min(end, p + NR), pixels, top * MR,
               min(m, bottom * MR), layout, scale, shift, target)
    if relu or added.size:
        _finish(begin, end, pixels, top * MR, min(m, bottom * MR), target, added, relu)


@part
def _lanes(pixels):
    """Of a tile for so many."""
    return LANES if pixels <= LANES else NR


@part
def _finish(begin, end, pixels, top, bottom, target, added, relu):
    """Add to, and rectify, the outputs begin ... end - 1 of rows top ... bottom - 1 that are stored."""
    p = begin
    while p < end:
        sample, inside = p // pixels, p % pixels
        length = min(pixels - inside, end - p)
        into = target[sample].ctypes.data + inside * 4
        other = added[sample].ctypes.data + inside * 4 if added.size else 0
        for r in range(top, bottom):
            at = r * pixels * 4
            finish_run(into + at, other + at if added.size else 0, length, relu)
        p += length


@part
def _pieces(begin, end, pixels, layout, pitch, table, starts):
    """Where the runs of each tile come from, in pieces of at most LANES: table[0] in the source, table[1] in the panel.

    Piece starts[t] ... starts[t + 1] - 1 are those of tile t, ascending, so that what one copies too much the next
    overwrites.
    """
    columns, width, n, p = layout.columns, layout.width, 0, begin
    for t in range(starts.size):
        starts[t] = n
        stop = min(end, begin + (t + 1) * NR)
        while p < stop:
            sample, inside = p // pixels, p % pixels
            y, x = inside // columns, inside % columns
            length = min(columns - x, stop - p)
            source, lane = (sample - begin // pixels) * pitch + y * width + x, (p - begin) % NR
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
def _store(totals, lanes, begin, end, pixels, top, bottom, layout, scale, shift, target):
    """Scatter outputs begin ... end - 1 of rows top ... bottom - 1 from their tiles."""
    columns, spread = layout.columns, layout.spread_x
    plane = target.shape[2] * target.shape[3]
    sums = totals.ctypes.data
    # Whether the outputs of a sample follow each other.
    whole = spread == layout.spread_y == 1 and columns == target.shape[3]
    p = begin
    while p < end:
        sample, inside = p // pixels, p % pixels
        y, x = inside // columns, inside % columns
        length = min(pixels - inside if whole else columns - x, end - p)
        at = (layout.first_y + y * layout.spread_y) * target.shape[3] + layout.first_x + x * spread
        into = target[sample].ctypes.data + at * 4
        for r in range(top, bottom):
            run, place = sums + ((r - top) * lanes + p - begin) * 4, into + r * plane * 4
            if spread == 1:
                store_run(run, place, length, length, scale[r], shift[r])
            elif spread == 2:
                store_every_second(run, place, length, scale[r], shift[r])
            else:
                for j in range(length):
                    store_float(place, j * spread, (load_float(run, j) + np.float32(0)) * scale[r] + shift[r])
        p += length
