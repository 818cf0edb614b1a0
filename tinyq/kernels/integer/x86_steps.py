"""Products of codes and levels with x86's vectors, of 256 or 512 bits: VNNI, or pairs of products in 16 bits."""
from collections.abc import Iterable

from llvmlite import ir

from tinyq.kernels.integer.tile_shape import BYTES, LANES, SHORTS, SUMS, VECTOR_BYTES, VECTORS, Steps
from tinyq.kernels.jit.isa import SHAPE
from tinyq.kernels.simd.llvm import I32, I64, broadcast, call, load, splat

_512 = LANES == 16
_DOT_BYTES = "llvm.x86.avx512.vpdpbusd." + ("512" if _512 else "256")
_PAIRS_OF_BYTES = "llvm.x86.avx512.pmaddubs.w.512" if _512 else "llvm.x86.avx2.pmadd.ub.sw"
_PAIRS_OF_SHORTS = "llvm.x86.avx512.pmaddw.d.512" if _512 else "llvm.x86.avx2.pmadd.wd"
_LOOK_UP = "llvm.x86.avx512.pshuf.b.512" if _512 else "llvm.x86.avx2.pshuf.b"


RUN_OF_CODES = I32


def spread(builder: ir.IRBuilder, codes: ir.Value) -> ir.Value:
    """Put a run of codes into every lane."""
    return broadcast(builder, codes, SUMS)


def add_products_of_bytes(builder: ir.IRBuilder, sums: ir.Value, codes: ir.Value, levels: ir.Value) -> ir.Value:
    """Return sums + four unsigned codes times four signed levels in each lane; all vectors of 32-bit lanes."""
    if SHAPE.wide:
        return call(builder, _DOT_BYTES, SUMS, sums, codes, levels)
    pairs = call(builder, _PAIRS_OF_BYTES, SHORTS, builder.bitcast(codes, BYTES), builder.bitcast(levels, BYTES))
    return builder.add(sums, call(builder, _PAIRS_OF_SHORTS, SUMS, pairs, splat(SHORTS, 1)))


def add_codes(builder: ir.IRBuilder, sums: ir.Value, codes: ir.Value) -> ir.Value:
    """Return sums + a vector of codes, four in each lane."""
    return add_products_of_bytes(builder, sums, codes, builder.bitcast(splat(BYTES, 1), SUMS))


def joined(builder: ir.IRBuilder, columns: Iterable[ir.Value]) -> Iterable[ir.Value]:
    """Return the sums of a row's columns in the order of memory."""
    return columns


def look_up(builder: ir.IRBuilder, table: ir.Value, codes: ir.Value) -> ir.Value:
    """Return the table's byte for each code below 16; the table repeats 16 bytes."""
    return call(builder, _LOOK_UP, BYTES, table, codes)


def _add_products_of_shorts(builder, sums, codes, levels):
    """sums + two signed codes times two signed levels in each lane."""
    codes, levels = (builder.bitcast(v, SHORTS) for v in (codes, levels))
    return builder.add(sums, call(builder, _PAIRS_OF_SHORTS, SUMS, codes, levels))


def _adds(add_products):
    def add_steps(builder, slots, start, levels, at, count):
        for s in range(count):
            step_at = builder.add(at, I64(s))
            row_at = builder.shl(step_at, I64(2))
            level_at = builder.mul(step_at, I64(VECTORS * VECTOR_BYTES))
            columns = [load(builder, levels, builder.add(level_at, I64(v * VECTOR_BYTES)), SUMS)
                       for v in range(VECTORS)]
            for r, row in enumerate(start):
                x = spread(builder, load(builder, row, row_at, RUN_OF_CODES))
                for v in range(VECTORS):
                    builder.store(add_products(builder, builder.load(slots[r, v]), x, columns[v]), slots[r, v])

    return Steps(add_steps)


BYTE_STEPS, SHORT_STEPS = _adds(add_products_of_bytes), _adds(_add_products_of_shorts)
SMALL_STEPS = BYTE_STEPS                # small levels need no other code here
