"""Integer register tiles: sums of products of 8- or 16-bit codes with small integer levels, exact on every target.

A step is four 8-bit or two 16-bit codes side by side: 32 bits. A tile is MR rows of codes by NR sums. How the products
of some steps are added is each processor family's own: x86_steps.py, neon_steps.py.
"""
from llvmlite import ir
from numba.core import cgutils
from numba.types import int64, void

from tinyq.kernels.integer import neon_steps, x86_steps
from tinyq.kernels.integer.tile_shape import BYTES, NR, SHORTS, SUMS, UNROLLED, VECTOR_BYTES, VECTORS
from tinyq.kernels.jit.intrinsics import emits, outlined
from tinyq.kernels.jit.isa import SHAPE
from tinyq.kernels.simd.llvm import I16, I32, I64, load, splat, store

instructions = neon_steps if SHAPE.neon else x86_steps
SMALL_APART = instructions.SMALL_STEPS is not instructions.BYTE_STEPS      # small levels have a tile of their own
TILE = void(*[int64] * 7)


def _make_tile(name, together, steps_of):
    """Return the function that takes `together` rows at a time."""
    def emit_rows(builder, *arguments):
        _emit_tile(builder, together, steps_of, *arguments)

    @emits(TILE)
    def tile(builder, steps, rows, codes, stride, levels, sums, resume):
        """Add `steps` steps of `rows` rows of codes, `stride` bytes apart, times levels (steps, NR) to a tile.

        Addresses are integers; sums (rows, NR) int32 begin at 0 unless `resume`. Rows that are missing to a
        multiple of those taken together are read and summed too.
        """
        function = outlined(builder.module, name, 6, emit_rows, SHAPE.beyond_base)
        with cgutils.for_range_slice(builder, I64(0), rows, I64(together)) as (row, _):
            row_codes = builder.add(codes, builder.mul(row, stride))
            row_sums = builder.add(sums, builder.mul(row, I64(NR * 4)))
            builder.call(function, [steps, row_codes, stride, levels, row_sums, resume])

    return tile


def _emit_tile(builder, rows, steps_of, steps, codes, stride, levels, sums, resume):
    held = -(-rows // steps_of.rows) * steps_of.rows        # rows in registers; those beyond the tile's are no one's
    cells = [(r, v) for r in range(held) for v in range(VECTORS)]
    place = {(r, v): I64((r * VECTORS + v) * VECTOR_BYTES) for r, v in cells if r < rows}
    start = [builder.add(codes, builder.mul(stride, I64(min(r, rows - 1)))) for r in range(held)]
    # LLVM makes registers of them.
    slots: dict[tuple[int, ...], ir.Value] = {cell: cgutils.alloca_once(builder, SUMS) for cell in cells}
    upper: dict[tuple[int, ...], ir.Value] = {
        (*cell, 1): cgutils.alloca_once_value(builder, splat(SUMS, 0)) for cell in cells if steps_of.parts == 2}
    slots |= upper
    resumes = builder.icmp_signed("!=", resume, I64(0))
    with builder.if_else(resumes) as (goes_on, begins):
        with goes_on:
            for cell in cells:
                builder.store(load(builder, sums, place[cell], SUMS) if cell in place else splat(SUMS, 0), slots[cell])
            steps_of.arrange(builder, slots)
        with begins:
            for cell in cells:
                builder.store(splat(SUMS, 0), slots[cell])
    rest = builder.and_(steps, I64(UNROLLED - 1))
    whole = builder.sub(steps, rest)
    with cgutils.for_range_slice(builder, I64(0), whole, I64(UNROLLED)) as (at, _):
        steps_of.add(builder, slots, start, levels, at, UNROLLED)
    with cgutils.for_range_slice(builder, whole, steps, I64(steps_of.least)) as (at, _):
        steps_of.add(builder, slots, start, levels, at, steps_of.least)
    for (r, v, _), slot in upper.items():
        shifted = builder.shl(builder.load(slot), splat(SUMS, 8))
        builder.store(builder.add(builder.load(slots[r, v]), shifted), slots[r, v])
    steps_of.arrange(builder, slots)
    for cell in place:
        store(builder, builder.load(slots[cell]), sums, place[cell])


byte_tile = _make_tile("byte_tile", SHAPE.vector_rows, instructions.BYTE_STEPS)
short_tile = _make_tile("short_tile", SHAPE.vector_rows // instructions.SHORT_STEPS.parts, instructions.SHORT_STEPS)
small_tile = _make_tile("small_tile", SHAPE.vector_rows, instructions.SMALL_STEPS)      # levels up to MAX_SMALL
byte_row = _make_tile("byte_row", 1, instructions.BYTE_STEPS)
short_row = _make_tile("short_row", 1, instructions.SHORT_STEPS)


def decoded(builder, packed, j, bits, table):
    """Decode the j-th vector of codes that share a vector of bytes: bits j * bits ... of each byte index the table."""
    if bits == 8:
        return packed
    shifted = builder.bitcast(packed, SHORTS)
    if j:
        shifted = builder.lshr(shifted, splat(SHORTS, j * bits))
    codes = builder.and_(builder.bitcast(shifted, BYTES), splat(BYTES, (1 << bits) - 1))
    return instructions.look_up(builder, table, codes)


def _make_decode(bits):
    @emits(void(*[int64] * 5))
    def decode(builder, packed, count, table, levels, short):
        """Decode `count` packed vectors to levels: 8 / bits vectors of int8 each, or twice as many of int16 if `short`.

        packed, table (of a vector's bytes, the same 16 levels again and again) and levels are addresses. With 8 bits
        the codes are the levels.
        """
        look_up, many = load(builder, table, I64(0), BYTES), 8 // bits
        is_short = builder.icmp_signed("!=", short, I64(0))
        with cgutils.for_range(builder, count) as loop:
            vector = load(builder, packed, builder.mul(loop.index, I64(VECTOR_BYTES)), BYTES)
            for j in range(many):
                value = decoded(builder, vector, j, bits, look_up)
                at = builder.mul(builder.add(builder.mul(loop.index, I64(many)), I64(j)), I64(VECTOR_BYTES))
                with builder.if_else(is_short) as (twice, once):
                    with twice:
                        _store_as_shorts(builder, value, levels, builder.shl(at, I64(1)))
                    with once:
                        store(builder, value, levels, at)

    return decode


def _store_as_shorts(builder, value, address, at):
    wide = builder.sext(value, ir.VectorType(I16, BYTES.count))
    for half in range(2):
        lanes = ir.Constant(ir.VectorType(I32, SHORTS.count), [half * SHORTS.count + i for i in range(SHORTS.count)])
        part = builder.shuffle_vector(wide, ir.Constant(wide.type, ir.Undefined), lanes)
        store(builder, part, address, builder.add(at, I64(half * VECTOR_BYTES)))


decode_2, decode_4, decode_8 = (_make_decode(bits) for bits in (2, 4, 8))
