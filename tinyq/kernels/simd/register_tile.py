"""The register tile under every product: an LLVM loop of vector fused multiply-adds, written once for all targets.

One call adds the products of a run of k to a tile of MR x (vectors * LANES) outputs, each output one chain of
fused multiply-adds over k ascending. Tile shape and vector width therefore choose which outputs are computed
together and never change a bit (kernels/README.md).
"""
import numpy as np
from numba.types import int64, uintp, void

from tinyq.kernels.contract import KC
from tinyq.kernels.jit.compile import part
from tinyq.kernels.jit.intrinsics import emits
from tinyq.kernels.simd.llvm import (
    I8,
    I32,
    I64,
    VOID,
    broadcast,
    call,
    element,
    fma,
    keep_order,
    load,
    pointer,
    splat,
    store,
)
from tinyq.kernels.simd.vectors import INTEGERS, LANES, MR, NEON, NR, SINGLES, VECTORS, ZEROS

# Offsets for a tile's operands: rows packed side by side (weight_panels.py), and a panel (KC, NR).
PACKED_ROWS, PANEL = np.arange(MR), np.arange(KC) * NR

# Distance of prefetching ahead of the weights in use, in elements: one block.
_AHEAD = KC * MR

# Options of a call, combined with |.
RESUME = 1      # start from the carried partial sum instead of +0
FLUSH = 2       # the block of k ends here: add the sum to the total instead of carrying it

_TILE = void(int64, uintp, uintp, int64, *[uintp] * 4, int64)


def _make_tile(vectors):
    """Return the tile function for `vectors` vectors per row (narrow outputs waste fewer lanes with one)."""
    @emits(_TILE, outlined_as=f"tile_{MR}x{vectors}")
    def tile(builder, k, a, rows, a_step, b, offsets, carry, total, flags):
        """Add sum over i < k of outer(a[rows[:] + i * a_step], b[offsets[i] : + columns]) to a tile.

        Addresses are integers; `rows` (MR) and `offsets` (k) point to int64 element offsets; `carry` and
        `total` are tiles (MR, vectors * LANES) of float32; `flags` combines RESUME and FLUSH.
        """
        _emit_tile(builder, (MR, vectors), _each_row, False, k, a, rows, a_step, b, offsets, carry, total, flags)

    return tile


def _make_packed_tile(vectors):
    """Return the tile for rows packed side by side, whose values vectors load and NEON multiplies by their lanes.

    Cores that run instructions in order wait for each load: here there are 2 instead of 8.
    """
    @emits(_TILE, outlined_as=f"packed_tile_{MR}x{vectors}")
    def packed_tile(builder, k, a, rows, a_step, b, offsets, carry, total, flags):
        """Do what tile does, where `rows` are PACKED_ROWS."""
        _emit_tile(builder, (MR, vectors), _side_by_side, False, k, a, rows, a_step, b, offsets, carry, total, flags)

    return packed_tile


def _make_gathering_tile(vectors, tile_rows=MR):
    """Return the register tile with offsets on the other operand (an indirect-GEMM micro-kernel)."""
    @emits(_TILE, outlined_as=f"gathering_tile_{tile_rows}x{vectors}")
    def gathering_tile(builder, k, a, rows, b_step, b, offsets, carry, total, flags):
        """Add sum over i < k of outer(a[rows[:] + offsets[i]], b[i * b_step : + columns]) to a tile; see tile."""
        _emit_tile(builder, (tile_rows, vectors), _each_row, True, k, a, rows, b_step, b, offsets, carry, total, flags)

    return gathering_tile


def _emit_tile(builder, shape, values_of_rows, gathers, k, a, rows, linear_step, b, offsets, carry, total, flags):
    """Start from the carry or +0, add the products of k steps, end in the total or the carry."""
    a, b, carry, total = (pointer(builder, p) for p in (a, b, carry, total))
    rows, offsets = (pointer(builder, p, I64) for p in (rows, offsets))
    tile_rows, vectors = shape
    cells = [(r, v) for r in range(tile_rows) for v in range(vectors)]
    at = {(r, v): I64((r * vectors + v) * LANES) for r, v in cells}
    row_start = [element(builder, a, builder.load(element(builder, rows, I64(r)))) for r in range(tile_rows)]
    start = _emit_start(builder, cells, at, carry, flags)
    sums = _emit_steps(builder, cells, start, k, row_start, values_of_rows, linear_step, b, offsets, gathers)
    _emit_end(builder, sums, at, carry, total, flags)


def _emit_start(builder, cells, at, carry, flags):
    """cell -> RESUME ? carry : +0."""
    resume = builder.icmp_unsigned("!=", builder.and_(flags, I64(RESUME)), I64(0))
    before = builder.block
    with builder.if_then(resume):
        carried = {cell: load(builder, carry, at[cell], SINGLES) for cell in cells}
        resumed = builder.block
    start = {}
    for cell in cells:
        start[cell] = builder.phi(SINGLES)
        start[cell].add_incoming(ZEROS, before)
        start[cell].add_incoming(carried[cell], resumed)
    return start


def _emit_steps(builder, cells, start, k, row_start, values_of_rows, linear_step, b, offsets, gathers):
    """Return the loop over k: cell -> its sum."""
    loop, done = builder.append_basic_block("k"), builder.append_basic_block("k.end")
    entry = builder.block
    builder.branch(loop)
    builder.position_at_end(loop)
    i = builder.phi(I64)
    i.add_incoming(I64(0), entry)
    accumulators = {cell: builder.phi(SINGLES) for cell in cells}
    step, offset = builder.mul(i, linear_step), builder.load(element(builder, offsets, i))
    if gathers:
        step, offset = offset, step
    vectors = len(cells) // len(row_start)
    columns = [load(builder, b, builder.add(offset, I64(v * LANES)), SINGLES) for v in range(vectors)]
    sums = {}
    for r, x in enumerate(values_of_rows(builder, row_start, step)):
        for v in range(vectors):
            sums[r, v] = fma(builder, x, columns[v], accumulators[r, v])
    if gathers:
        # Mixing two steps of k costs a fifth of the speed where eight loads wait for an offset; where one load does, it
        # gains a tenth.
        keep_order(builder)
    else:
        _prefetch(builder, element(builder, row_start[0], builder.add(step, I64(_AHEAD))))
    following = builder.add(i, I64(1))
    i.add_incoming(following, loop)
    for cell in cells:
        accumulators[cell].add_incoming(start[cell], entry)
        accumulators[cell].add_incoming(sums[cell], loop)
    builder.cbranch(builder.icmp_signed("<", following, k), loop, done)
    builder.position_at_end(done)
    return sums


def _each_row(builder, row_start, step):
    """Yield each row's value at a step, in every lane."""
    for row in row_start:
        yield broadcast(builder, builder.load(element(builder, row, step)), SINGLES)


def _side_by_side(builder, row_start, step):
    """Yield the same of rows that lie side by side."""
    several = [load(builder, row_start[0], builder.add(step, I64(first)), SINGLES) for first in range(0, MR, LANES)]
    for r in range(MR):
        vector = several[r // LANES]
        yield builder.shuffle_vector(vector, vector, splat(INTEGERS, r % LANES))


def _emit_end(builder, sums, at, carry, total, flags):
    """FLUSH ? total += sum : carry = sum."""
    flush = builder.icmp_unsigned("!=", builder.and_(flags, I64(FLUSH)), I64(0))
    with builder.if_else(flush) as (ends, goes_on):
        with ends:
            for cell, value in sums.items():
                store(builder, builder.fadd(load(builder, total, at[cell], SINGLES), value), total, at[cell])
        with goes_on:
            for cell, value in sums.items():
                store(builder, value, carry, at[cell])


def _prefetch(builder, place):
    """Ask for the cache line at a pointer."""
    call(builder, "llvm.prefetch.p0", VOID, builder.bitcast(place, I8.as_pointer()), I32(0), I32(3), I32(1))


tile, narrow_tile = _make_tile(VECTORS), _make_tile(1)
packed_tile, narrow_packed_tile = (_make_packed_tile(VECTORS), _make_packed_tile(1)) if NEON else (tile, narrow_tile)
gathering_tile, narrow_gathering_tile = _make_gathering_tile(VECTORS), _make_gathering_tile(1)
# Rows of a tile of pixels: the planes of ImageNet-size networks are 7 times a power of two.
PIXELS = 7 if MR == 8 else MR
pixel_tile, narrow_pixel_tile = _make_gathering_tile(VECTORS, PIXELS), _make_gathering_tile(1, PIXELS)


@part
def any_packed_tile(columns, k, a, rows, a_step, b, offsets, carry, total, flags):
    """Return the tile of NR or of LANES columns; `rows` are PACKED_ROWS."""
    if columns == NR:
        packed_tile(k, a, rows, a_step, b, offsets, carry, total, flags)
    else:
        narrow_packed_tile(k, a, rows, a_step, b, offsets, carry, total, flags)


@part
def any_gathering_tile(columns, k, a, rows, b_step, b, offsets, carry, total, flags):
    """Return the gathering tile of NR or of LANES columns."""
    if columns == NR:
        gathering_tile(k, a, rows, b_step, b, offsets, carry, total, flags)
    else:
        narrow_gathering_tile(k, a, rows, b_step, b, offsets, carry, total, flags)
