"""One row of 8-bit codes times packed levels, decoded in registers as fast as they are read."""
import functools

from numba.core import cgutils
from numba.types import int64, void

from tinyq.kernels.integer.dots import decoded, instructions
from tinyq.kernels.integer.tile_shape import (
    BYTES,
    COLUMNS,
    LANES,
    RUN,
    SHORTS,
    SUMS,
    VECTOR_BYTES,
    ZERO_CODE,
)
from tinyq.kernels.jit.intrinsics import emits
from tinyq.kernels.jit.isa import SHAPE
from tinyq.kernels.simd.llvm import I32, I64, broadcast, load, splat, store

LONGEST_EVEN_ROW = (2**31 - 1) // (255 * 0x30)      # codes: what the sums of even_row hold for sure
_ACCUMULATORS = 8                       # vectors of sums per row, enough that no addition waits for the one before
_ZERO = splat(SUMS, 0)


def _make_coded_row(bits):
    @emits(void(*[int64] * 5), outlined_as=f"coded_row_{bits}", beyond_base=SHAPE.beyond_base)
    def coded_row(builder, count, packed, table, codes, sums):
        """Return the sums (NR,) int32 of one row of 8-bit codes times a packed panel.

        `count` packed vectors (see dots.decode) and the table by address; codes must be ZERO_CODE from the row's end
        to where the last vector's levels end.
        """
        look_up = load(builder, table, I64(0), BYTES)
        slots = _sums_in_turn(builder, count, packed, codes, 8 // bits,
                              lambda vector, j: decoded(builder, vector, j, bits, look_up))
        _store(builder, (_total(builder, map(builder.load, slots[c::COLUMNS])) for c in range(COLUMNS)), sums)

    return coded_row


coded_row_2, coded_row_4 = _make_coded_row(2), _make_coded_row(4)


@emits(void(*[int64] * 6), outlined_as="even_row", beyond_base=SHAPE.beyond_base)
def even_row(builder, count, packed, step, least, codes, sums):
    """coded_row_2 with evenly spaced levels: code c stands for the level c * step plus a constant.

    least: that constant times sum_of_row(codes). The codes themselves are multiplied, three
    of four without being shifted into place first. Rows have at most LONGEST_EVEN_ROW codes.
    """
    slots = _sums_in_turn(builder, count, packed, codes, 4, functools.partial(_left_in_place, builder))
    step, least = (broadcast(builder, builder.trunc(a, I32), SUMS) for a in (step, least))
    shift = builder.ashr if ZERO_CODE else builder.lshr                # with signed codes, of signed sums

    def total(column):
        parts = [shift(builder.load(slot), splat(SUMS, _shift(i % 4)))
                 for i, slot in enumerate(slots) if i % COLUMNS == column]
        return builder.add(builder.mul(_total(builder, parts), step), least)

    _store(builder, map(total, range(COLUMNS)), sums)


@emits(int64(int64, int64))
def sum_of_row(builder, length, codes):
    """Return the sum of `length` 8-bit codes at an address, each less ZERO_CODE.

    From there to the end of a whole vector codes must be ZERO_CODE.
    """
    slot = cgutils.alloca_once_value(builder, _ZERO)
    with cgutils.for_range_slice(builder, I64(0), length, I64(VECTOR_BYTES)) as (at, _):
        vector = load(builder, codes, at, SUMS)
        builder.store(instructions.add_codes(builder, builder.load(slot), vector), slot)
    lanes = builder.load(slot)
    total = I32(0)
    for lane in range(LANES):
        total = builder.add(total, builder.extract_element(lanes, I32(lane)))
    return builder.sext(total, I64)


def _shift(j):
    """Shift of code j of four above its place in a byte when multiplied; the last would reach the sign."""
    return 2 * j if j < 3 else 0


def _left_in_place(builder, vector, j):
    """Return code j of each byte times 2^_shift(j)."""
    if j == 3:
        vector = builder.lshr(builder.bitcast(vector, SHORTS), splat(SHORTS, 6))
    mask = splat(BYTES, 3 << _shift(j))
    return builder.and_(builder.bitcast(vector, BYTES), mask)


def _sums_in_turn(builder, count, packed, codes, many, level_of):
    """Sum the products of codes and levels in _ACCUMULATORS slots; return the slots.

    A packed vector holds `many` vectors of levels; level_of(packed vector, j) is the j-th. It goes to a slot i with
    i % many = j, so a slot belongs to column i % COLUMNS of the panel.
    """
    least = max(1, COLUMNS // many)     # packed vectors of one run
    together = _ACCUMULATORS // many
    slots = [cgutils.alloca_once_value(builder, _ZERO) for _ in range(_ACCUMULATORS)]

    def add_vectors(at, number):
        for i in range(number):
            index = builder.add(at, I64(i))
            vector = load(builder, packed, builder.mul(index, I64(VECTOR_BYTES)), BYTES)
            begun = index if many >= COLUMNS else builder.add(at, I64(i - i % least))       # of the run's first vector
            row_at = builder.mul(begun, I64(RUN * many // COLUMNS))
            for j in range(many):
                run = load(builder, codes, builder.add(row_at, I64(RUN * (j // COLUMNS))), instructions.RUN_OF_CODES)
                levels = builder.bitcast(level_of(vector, j), SUMS)
                slot = slots[i * many + j]
                total = builder.load(slot)
                factors = instructions.spread(builder, run)
                builder.store(instructions.add_products_of_bytes(builder, total, factors, levels), slot)

    rest = builder.urem(count, I64(together))
    whole = builder.sub(count, rest)
    with cgutils.for_range_slice(builder, I64(0), whole, I64(together)) as (at, _):
        add_vectors(at, together)
    with cgutils.for_range_slice(builder, whole, count, I64(least)) as (at, _):
        add_vectors(at, least)
    return slots


def _store(builder, totals, sums):
    """Store the totals of the columns as NR sums."""
    for v, total in enumerate(instructions.joined(builder, totals)):
        store(builder, total, sums, I64(v * VECTOR_BYTES))


def _total(builder, vectors):
    return functools.reduce(builder.add, vectors)
