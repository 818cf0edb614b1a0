"""The register tile under every product: an LLVM loop of vector fused multiply-adds, written once for all targets.

One call adds the products of a run of k to a tile of ROWS x (vectors * LANES) outputs, each output one chain of
fused multiply-adds over k ascending. Tile shape and vector width therefore choose which outputs are computed
together and never change a bit (DESIGN, numeric contract).
"""
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from tinyq.kernels.contract import PRODUCT_BLOCK
from tinyq.kernels.jit.compile import part
from tinyq.kernels.jit.outlined import outlined
from tinyq.kernels.simd.vectors import (
    COLUMNS,
    I32,
    I64,
    LANES,
    ROWS,
    SINGLES,
    VECTORS,
    ZEROS,
    broadcast,
    element,
    load_vector,
    pointer,
    store_vector,
)

# Offsets for a tile's operands: rows packed side by side (weights.py), and a panel (PRODUCT_BLOCK, COLUMNS).
PACKED_ROWS, PANEL = np.arange(ROWS), np.arange(PRODUCT_BLOCK) * COLUMNS

# How far ahead of the weights in use others are asked for, in elements: a block of them.
_AHEAD = PRODUCT_BLOCK * ROWS

# What a call does besides adding products; combined with |.
RESUME = 1      # start from the carried partial sum instead of +0
FLUSH = 2       # the block of k ends here: add the sum to the total instead of carrying it

_TILE = types.void(types.int64, types.uintp, types.uintp, types.int64, *[types.uintp] * 4, types.int64)


def _make_tile(vectors):
    """The tile function for `vectors` vectors a row (narrow outputs waste fewer lanes with one)."""

    @intrinsic
    def tile(typingctx, k, a, rows, a_step, b, offsets, carry, total, flags):
        """Add sum over i < k of outer(a[rows[:] + i * a_step], b[offsets[i] : + columns]) to a tile.

        Addresses are integers; `rows` (ROWS) and `offsets` (k) point to int64 element offsets; `carry` and
        `total` are tiles (ROWS, vectors * LANES) of float32; `flags` combines RESUME and FLUSH.
        """
        def codegen(context, builder, sig, args):
            builder.call(_outlined(builder.module, vectors, ROWS, False), args)
            return context.get_dummy_value()

        return _TILE, codegen

    return tile


def _make_gathering_tile(vectors, rows_of_tile=ROWS):
    """The same with the offsets on the other side."""

    @intrinsic
    def gathering_tile(typingctx, k, a, rows, b_step, b, offsets, carry, total, flags):
        """Add sum over i < k of outer(a[rows[:] + offsets[i]], b[i * b_step : + columns]) to a tile; see tile."""
        def codegen(context, builder, sig, args):
            builder.call(_outlined(builder.module, vectors, rows_of_tile, True), args)
            return context.get_dummy_value()

        return _TILE, codegen

    return gathering_tile


def _outlined(module, vectors, rows_of_tile, gathers):
    name = f"{'gathering_' if gathers else ''}tile_{rows_of_tile}x{vectors}"
    return outlined(module, name, 9, lambda builder, *args: _emit_tile(builder, vectors, rows_of_tile, gathers, *args))


def _emit_tile(builder, vectors, rows_of_tile, gathers, k, a, rows, linear_step, b, offsets, carry, total, flags):
    a, b, carry, total = (pointer(builder, p) for p in (a, b, carry, total))
    rows, offsets = (pointer(builder, p, I64) for p in (rows, offsets))
    fma = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(SINGLES, [SINGLES] * 3), f"llvm.fma.v{LANES}f32")
    cells = [(r, v) for r in range(rows_of_tile) for v in range(vectors)]
    at = {(r, v): I64((r * vectors + v) * LANES) for r, v in cells}
    row_start = [element(builder, a, builder.load(element(builder, rows, I64(r)))) for r in range(rows_of_tile)]

    # acc = RESUME ? carry : +0
    resume = builder.icmp_unsigned("!=", builder.and_(flags, I64(RESUME)), I64(0))
    before = builder.block
    with builder.if_then(resume):
        carried = {cell: load_vector(builder, carry, at[cell]) for cell in cells}
        resumed = builder.block
    start = {}
    for cell in cells:
        start[cell] = builder.phi(SINGLES)
        start[cell].add_incoming(ZEROS, before)
        start[cell].add_incoming(carried[cell], resumed)

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
    columns = [load_vector(builder, b, builder.add(offset, I64(v * LANES))) for v in range(vectors)]
    sums = {}
    for r in range(rows_of_tile):
        x = broadcast(builder, builder.load(element(builder, row_start[r], step)))
        for v in range(vectors):
            sums[r, v] = builder.call(fma, [x, columns[v], accumulators[r, v]])
    if gathers:
        _keep_order(builder)
    else:
        _prefetch(builder, element(builder, row_start[0], builder.add(step, I64(_AHEAD))))
    following = builder.add(i, I64(1))
    i.add_incoming(following, loop)
    for cell in cells:
        accumulators[cell].add_incoming(start[cell], entry)
        accumulators[cell].add_incoming(sums[cell], loop)
    builder.cbranch(builder.icmp_signed("<", following, k), loop, done)
    builder.position_at_end(done)

    flush = builder.icmp_unsigned("!=", builder.and_(flags, I64(FLUSH)), I64(0))
    with builder.if_else(flush) as (ends, goes_on):
        with ends:
            for cell in cells:
                block_sum = builder.fadd(load_vector(builder, total, at[cell]), sums[cell])
                store_vector(builder, block_sum, total, at[cell])
        with goes_on:
            for cell in cells:
                store_vector(builder, sums[cell], carry, at[cell])


def _prefetch(builder, pointer):
    """Ask for the cache line at a pointer."""
    byte = ir.PointerType(ir.IntType(8))
    prefetch = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(ir.VoidType(), [byte, I32, I32, I32]), "llvm.prefetch.p0")
    builder.call(prefetch, [builder.bitcast(pointer, byte), I32(0), I32(3), I32(1)])


def _keep_order(builder):
    """Let no load pass this point. LLVM mixes two steps of k, which costs a fifth where eight loads wait for an offset.

    Where one does, it gains a tenth.
    """
    builder.asm(ir.FunctionType(ir.VoidType(), []), "", "~{memory}", [], side_effect=True)


tile, narrow_tile = _make_tile(VECTORS), _make_tile(1)
gathering_tile, narrow_gathering_tile = _make_gathering_tile(VECTORS), _make_gathering_tile(1)
# Rows of a tile of pixels: planes of photographs' networks are 7 times a power of two.
PIXELS = 7 if ROWS == 8 else ROWS
pixel_tile, narrow_pixel_tile = _make_gathering_tile(VECTORS, PIXELS), _make_gathering_tile(1, PIXELS)


@part
def any_tile(columns, k, a, rows, a_step, b, offsets, carry, total, flags):
    """The tile of COLUMNS or of LANES columns."""
    if columns == COLUMNS:
        tile(k, a, rows, a_step, b, offsets, carry, total, flags)
    else:
        narrow_tile(k, a, rows, a_step, b, offsets, carry, total, flags)


@part
def any_gathering_tile(columns, k, a, rows, b_step, b, offsets, carry, total, flags):
    """The gathering tile of COLUMNS or of LANES columns."""
    if columns == COLUMNS:
        gathering_tile(k, a, rows, b_step, b, offsets, carry, total, flags)
    else:
        narrow_gathering_tile(k, a, rows, b_step, b, offsets, carry, total, flags)
