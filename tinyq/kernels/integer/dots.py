"""Integer register tiles: sums of products of 8- or 16-bit codes with small integer levels, exact on every target.

A step is four 8-bit or two 16-bit codes side by side: 32 bits, which every instruction set here multiplies with as many
levels for each 32-bit lane and adds up. A tile is MR rows of codes by NR sums.
"""
from llvmlite import ir
from numba.core import cgutils
from numba.types import int64, void

from tinyq.kernels.jit.intrinsics import emits, outlined
from tinyq.kernels.jit.isa import SHAPE
from tinyq.kernels.simd.llvm import I8, I16, I32, I64, broadcast, call, load, splat, store

UNROLLED = 4                            # steps at once: the rows' addresses may not fit the registers

# The register tile computes MR x NR sums.
MR, LANES, VECTORS = SHAPE.rows, SHAPE.lanes, 2
NR, VECTOR_BYTES = LANES * VECTORS, 4 * LANES
SUMS, BYTES, SHORTS = (ir.VectorType(kind, VECTOR_BYTES * 8 // kind.width) for kind in (I32, I8, I16))
_512 = LANES == 16
_DOT_BYTES = "llvm.x86.avx512.vpdpbusd." + ("512" if _512 else "256")
_PAIRS_OF_BYTES = "llvm.x86.avx512.pmaddubs.w.512" if _512 else "llvm.x86.avx2.pmadd.ub.sw"
_PAIRS_OF_SHORTS = "llvm.x86.avx512.pmaddw.d.512" if _512 else "llvm.x86.avx2.pmadd.wd"
_LOOK_UP = "llvm.x86.avx512.pshuf.b.512" if _512 else "llvm.x86.avx2.pshuf.b"


def add_products_of_bytes(builder, sums, codes, levels):
    """Return sums + four unsigned codes times four signed levels in each lane; all vectors of 32-bit lanes."""
    if SHAPE.wide:
        return call(builder, _DOT_BYTES, SUMS, sums, codes, levels)
    pairs = call(builder, _PAIRS_OF_BYTES, SHORTS, builder.bitcast(codes, BYTES), builder.bitcast(levels, BYTES))
    return builder.add(sums, call(builder, _PAIRS_OF_SHORTS, SUMS, pairs, splat(SHORTS, 1)))


def _add_products_of_shorts(builder, sums, codes, levels):
    """sums + two signed codes times two signed levels in each lane."""
    codes, levels = (builder.bitcast(v, SHORTS) for v in (codes, levels))
    return builder.add(sums, call(builder, _PAIRS_OF_SHORTS, SUMS, codes, levels))


TILE = void(*[int64] * 7)


def _make_tile(name, together, add_products):
    """Return the function that takes `together` rows at a time."""
    def emit_rows(builder, *arguments):
        _emit_tile(builder, together, add_products, *arguments)

    @emits(TILE)
    def tile(builder, steps, rows, codes, stride, levels, sums, resume):
        """Add `steps` steps of `rows` rows of codes, `stride` bytes apart, times levels (steps, NR) to a tile.

        Addresses are integers; sums (rows, NR) int32 begin at 0 unless `resume`. Rows that are missing to a
        multiple of those taken together are read and summed too.
        """
        function = outlined(builder.module, name, 6, emit_rows)
        with cgutils.for_range_slice(builder, I64(0), rows, I64(together)) as (row, _):
            row_codes = builder.add(codes, builder.mul(row, stride))
            row_sums = builder.add(sums, builder.mul(row, I64(NR * 4)))
            builder.call(function, [steps, row_codes, stride, levels, row_sums, resume])

    return tile


def _emit_tile(builder, rows, add_products, steps, codes, stride, levels, sums, resume):
    cells = [(r, v) for r in range(rows) for v in range(VECTORS)]
    place = {(r, v): I64((r * VECTORS + v) * VECTOR_BYTES) for r, v in cells}
    start = [builder.add(codes, builder.mul(stride, I64(r))) for r in range(rows)]
    slots = {cell: cgutils.alloca_once(builder, SUMS) for cell in cells}        # LLVM makes registers of them
    resumes = builder.icmp_signed("!=", resume, I64(0))
    with builder.if_else(resumes) as (goes_on, begins):
        with goes_on:
            for cell in cells:
                builder.store(load(builder, sums, place[cell], SUMS), slots[cell])
        with begins:
            for cell in cells:
                builder.store(splat(SUMS, 0), slots[cell])

    def step(at, count):
        for s in range(count):
            step_at = builder.add(at, I64(s))
            row_at = builder.shl(step_at, I64(2))
            level_at = builder.mul(step_at, I64(VECTORS * VECTOR_BYTES))
            columns = [load(builder, levels, builder.add(level_at, I64(v * VECTOR_BYTES)), SUMS)
                       for v in range(VECTORS)]
            for r in range(rows):
                x = broadcast(builder, load(builder, start[r], row_at, I32), SUMS)
                for v in range(VECTORS):
                    builder.store(add_products(builder, builder.load(slots[r, v]), x, columns[v]), slots[r, v])

    rest = builder.and_(steps, I64(UNROLLED - 1))
    whole = builder.sub(steps, rest)
    with cgutils.for_range_slice(builder, I64(0), whole, I64(UNROLLED)) as (at, _):
        step(at, UNROLLED)
    with cgutils.for_range_slice(builder, whole, steps, I64(1)) as (at, _):
        step(at, 1)
    for cell in cells:
        store(builder, builder.load(slots[cell]), sums, place[cell])


byte_tile = _make_tile("byte_tile", SHAPE.vector_rows, add_products_of_bytes)
short_tile = _make_tile("short_tile", SHAPE.vector_rows, _add_products_of_shorts)
byte_row = _make_tile("byte_row", 1, add_products_of_bytes)
short_row = _make_tile("short_row", 1, _add_products_of_shorts)


def decoded(builder, packed, j, bits, table):
    """Decode the j-th vector of codes that share a vector of bytes: bits j * bits ... of each byte index the table."""
    if bits == 8:
        return packed
    shifted = builder.bitcast(packed, SHORTS)
    if j:
        shifted = builder.lshr(shifted, splat(SHORTS, j * bits))
    codes = builder.and_(builder.bitcast(shifted, BYTES), splat(BYTES, (1 << bits) - 1))
    return call(builder, _LOOK_UP, BYTES, table, codes)


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
