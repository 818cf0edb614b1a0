"""Products of codes and levels with NEON: usmmla where there is i8mm, sdot where there is dotprod, else smull.

sdot and smull multiply signed bytes. There a code, unsigned in memory, is multiplied as code - 128; what that takes off
a sum is the same for every row of codes and is part of the offset of requantisation.
"""
import functools
from collections.abc import Iterable

from llvmlite import ir

from tinyq.kernels.integer import neon
from tinyq.kernels.integer.tile_shape import (
    BYTES,
    COLUMNS,
    NR,
    RUN,
    SHORTS,
    SUMS,
    UNROLLED,
    VECTOR_BYTES,
    VECTORS,
    ZERO_CODE,
    ZERO_LOW_BYTE,
    Steps,
)
from tinyq.kernels.jit.isa import SHAPE
from tinyq.kernels.simd import byte_look_up
from tinyq.kernels.simd.llvm import I32, I64, broadcast, keep_order, load, splat

_HALVES = ir.VectorType(I64, 2)
_RUNS = SUMS if RUN == 4 else _HALVES
RUN_OF_CODES = _RUNS.element

# The instructions are looked up when code is emitted: an emulator may have replaced them.


def spread(builder: ir.IRBuilder, codes: ir.Value) -> ir.Value:
    """Return a run of codes, again and again, as they are multiplied."""
    return _factors(builder, builder.bitcast(broadcast(builder, codes, _RUNS), BYTES))


def add_products_of_bytes(builder: ir.IRBuilder, sums: ir.Value, codes: ir.Value, levels: ir.Value) -> ir.Value:
    """Return sums + products of codes, as spread returns them, and signed levels.

    Four products in each lane; with usmmla eight in each of two lanes, and the same in the other two.
    """
    codes, levels = (builder.bitcast(v, BYTES) for v in (codes, levels))
    if RUN == 8:
        return neon.add_matrix(builder, sums, codes, levels)
    if SHAPE.dots:
        return neon.add_dots(builder, sums, levels, codes)          # so that codes are a lane of a register
    return _added(builder, sums, *_products(builder, codes, levels))


def add_codes(builder: ir.IRBuilder, sums: ir.Value, codes: ir.Value) -> ir.Value:
    """Return sums + a vector of codes, four in each lane, as they are multiplied."""
    of_pairs = neon.sums_of_signed if SHAPE.signed else neon.sums_of_unsigned
    pairs = of_pairs(builder, _factors(builder, builder.bitcast(codes, BYTES)))
    return builder.add(sums, neon.wide_sums_of_pairs(builder, pairs))


def joined(builder: ir.IRBuilder, columns: Iterable[ir.Value]) -> Iterable[ir.Value]:
    """Return the sums of a row's columns in the order of memory."""
    if RUN == 4:
        return columns
    totals = [builder.bitcast(column, _HALVES) for column in columns]           # two sums each, twice
    return [builder.bitcast(_picked(builder, a, [0, 2], b), SUMS)
            for a, b in zip(totals[::2], totals[1::2], strict=True)]


def look_up(builder: ir.IRBuilder, table: ir.Value, codes: ir.Value) -> ir.Value:
    """Return the table's byte for each code below 16."""
    return byte_look_up.look_up(builder, table, codes)


def _factors(builder, codes):
    """Codes as they are multiplied."""
    return builder.xor(codes, splat(BYTES, ZERO_CODE)) if ZERO_CODE else codes


def _products(builder, codes, levels):
    """The products in 16 bits, of the vectors' first halves and of the second."""
    return [neon.products_of_bytes(builder, *(_half(builder, v, half) for v in (codes, levels))) for half in range(2)]


def _added(builder, sums, low, high):
    """sums + in each lane four products, of neighbours in 16 bits."""
    return builder.add(sums, neon.wide_sums_of_pairs(builder, neon.sums_of_pairs(builder, low, high)))


def _half(builder, vector, which):
    count = vector.type.count // 2
    return _picked(builder, vector, [which * count + i for i in range(count)])


def _picked(builder, vector, lanes, other=None):
    """The lanes of a vector, or of two, the first one's first."""
    return builder.shuffle_vector(vector, other or ir.Constant(vector.type, ir.Undefined),
                                  ir.Constant(ir.VectorType(I32, len(lanes)), lanes))


def _columns(builder, levels, at, step):
    """The vectors of levels of a step."""
    first = builder.mul(builder.add(at, I64(step)), I64(NR * 4))
    return [load(builder, levels, builder.add(first, I64(v * VECTOR_BYTES)), BYTES) for v in range(VECTORS)]


def _codes_of_steps(builder, row, at, count):
    """The codes of each step, in every lane."""
    byte_at = builder.shl(at, I64(2))
    if count != UNROLLED:
        return [spread(builder, load(builder, row, byte_at, RUN_OF_CODES))]
    vector = builder.bitcast(_factors(builder, load(builder, row, byte_at, BYTES)), SUMS)
    return [builder.bitcast(_picked(builder, vector, [s] * SUMS.count), BYTES) for s in range(count)]


def _add_dots(builder, slots, start, levels, at, count):
    """Step by step."""
    rows = [_codes_of_steps(builder, row, at, count) for row in start]
    for s in range(count):
        columns = _columns(builder, levels, at, s)
        for (r, v), slot in slots.items():
            builder.store(add_products_of_bytes(builder, builder.load(slot), rows[r][s], columns[v]), slot)


def _adds_products(most):
    """Row by row; `most`: the number of steps of which 16 bits hold the sums of products."""
    def add_products(builder, slots, start, levels, at, count):
        columns = [_columns(builder, levels, at, s) for s in range(count)]
        for r, row in enumerate(start):
            keep_order(builder)                             # products of two rows do not fit the registers
            codes = _codes_of_steps(builder, row, at, count)
            for v in range(VECTORS):
                for first in range(0, count, most):
                    products = [_products(builder, codes[s], columns[s][v])
                                for s in range(first, min(first + most, count))]
                    halves = [functools.reduce(builder.add, half) for half in zip(*products, strict=True)]
                    builder.store(_added(builder, builder.load(slots[r, v]), *halves), slots[r, v])

    return add_products


def _add_matrices(builder, slots, start, levels, at, count):
    """Two rows and two columns at a time, two steps at once."""
    byte_at = builder.shl(at, I64(2))
    kind = ir.VectorType(I64, count // 2)
    rows = [load(builder, row, byte_at, kind) for row in start]
    for pair in range(count // 2):
        vectors = [_picked(builder, low, [pair, kind.count + pair], high)
                   for low, high in zip(rows[::2], rows[1::2], strict=True)]
        first = builder.mul(builder.add(at, I64(2 * pair)), I64(NR * 4))
        for c in range(COLUMNS):
            column = load(builder, levels, builder.add(first, I64(c * VECTOR_BYTES)), BYTES)
            for p, codes in enumerate(vectors):
                slot = slots[2 * p + c % 2, c // 2]
                builder.store(neon.add_matrix(builder, builder.load(slot), builder.bitcast(codes, BYTES), column), slot)


def _arrange_matrices(builder, slots):
    """Exchange the second half of a row's vector with the first half of the next row's."""
    for (r, v, *part), slot in slots.items():
        if r % 2 == 0 and not part:
            a, b = (builder.bitcast(builder.load(s), _HALVES) for s in (slot, slots[r + 1, v]))
            for half, target in enumerate((slot, slots[r + 1, v])):
                builder.store(builder.bitcast(_picked(builder, a, [half, 2 + half], b), SUMS), target)


def _bytes_of_shorts(builder, row, at, count):
    """Return the lower bytes of 16-bit codes, as they are multiplied, and then the upper ones, 8 each.

    Of 4 codes each of these comes twice.
    """
    kind = ir.VectorType(BYTES.element, 4 * count)
    lanes = list(range(0, kind.count, 2)) * (UNROLLED // count)
    both = _picked(builder, load(builder, row, builder.shl(at, I64(2)), kind), lanes + [lane + 1 for lane in lanes])
    return builder.xor(both, ir.Constant(BYTES, [ZERO_LOW_BYTE] * 8 + [0] * 8)) if ZERO_LOW_BYTE else both


def _add_dots_of_shorts(builder, slots, start, levels, at, count):
    """Four codes at a time, their lower bytes and their upper bytes apart."""
    rows = [builder.bitcast(_bytes_of_shorts(builder, row, at, count), SUMS) for row in start]
    for group in range(count // 2):
        first = builder.add(builder.mul(at, I64(NR * 2)), I64(group * NR * 4))
        columns = [load(builder, levels, builder.add(first, I64(v * VECTOR_BYTES)), BYTES) for v in range(VECTORS)]
        for part in range(2):
            for r, row in enumerate(rows):
                x = builder.bitcast(_picked(builder, row, [2 * part + group] * SUMS.count), BYTES)
                for v in range(VECTORS):
                    slot = slots[r, v, 1] if part else slots[r, v]
                    builder.store(add_products_of_bytes(builder, builder.load(slot), x, columns[v]), slot)


def _add_matrices_of_shorts(builder, slots, start, levels, at, count):
    """As _add_matrices, eight codes at a time, their lower bytes and their upper bytes apart."""
    rows = [builder.bitcast(_bytes_of_shorts(builder, row, at, count), _HALVES) for row in start]
    for c in range(COLUMNS):
        first = builder.add(builder.mul(at, I64(NR * 2)), I64(c * VECTOR_BYTES))
        column = load(builder, levels, first, BYTES)
        for p, (low, high) in enumerate(zip(rows[::2], rows[1::2], strict=True)):
            place = 2 * p + c % 2, c // 2
            for part, add in enumerate((neon.add_matrix, neon.add_signed_matrix)):
                codes = builder.bitcast(_picked(builder, low, [part, 2 + part], high), BYTES)
                slot = slots[*place, 1] if part else slots[place]
                builder.store(add(builder, builder.load(slot), codes, column), slot)


def _add_shorts(builder, slots, start, levels, at, count):
    """One code of 16 bits at a time, times a vector of as many levels as the tile has columns."""
    byte_at = builder.shl(at, I64(2))
    kind = ir.VectorType(SHORTS.element, 2 * count)
    rows = [load(builder, row, byte_at, kind) for row in start]
    for i in range(kind.count):
        column_at = builder.add(builder.mul(at, I64(NR * 4)), I64(i * VECTOR_BYTES))
        column = load(builder, levels, column_at, SHORTS)
        halves = [_half(builder, column, v) for v in range(VECTORS)]
        for r, row in enumerate(rows):
            x = _picked(builder, row, [i] * 4)
            for v in range(VECTORS):
                products = neon.products_of_shorts(builder, halves[v], x)
                builder.store(builder.add(builder.load(slots[r, v]), products), slots[r, v])


if RUN == 8:
    BYTE_STEPS = SMALL_STEPS = Steps(_add_matrices, 2, 2, _arrange_matrices)
    SHORT_STEPS = Steps(_add_matrices_of_shorts, 4, 2, _arrange_matrices, 2)
elif SHAPE.dots:
    BYTE_STEPS = SMALL_STEPS = Steps(_add_dots)
    SHORT_STEPS = Steps(_add_dots_of_shorts, 2, parts=2)
else:
    BYTE_STEPS, SMALL_STEPS = Steps(_adds_products(1)), Steps(_adds_products(UNROLLED))
    SHORT_STEPS = Steps(_add_shorts)
