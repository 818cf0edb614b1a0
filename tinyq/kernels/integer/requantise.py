"""Requantise integer sums in vectors: multiplier, offset, an added code, a rounding shift and the limits."""
from llvmlite import ir
from numba.core import cgutils
from numba.types import int64, void

from tinyq.kernels.integer.tile_shape import LANES, NR
from tinyq.kernels.jit.intrinsics import emits
from tinyq.kernels.simd.llvm import I8, I16, I32, I64, broadcast, load, splat, store

WIDE, NARROW = ir.VectorType(I64, LANES), ir.VectorType(I32, LANES)
_CODES = {"byte": I8, "short": I16, "int": I32}


def _make_finish(kind, adds):
    """Return the function for codes of a kind, and whether other codes are added."""
    @emits(void(*[int64] * 12), outlined_as=f"finish_{kind}{'_added' if adds else ''}")
    def finish(builder, rows, sums, multiplier, offset, shift, low, high, added, added_multiplier, added_shift, codes,
               stride):
        """One vector of outputs of `rows` rows of sums, NR int32 apart; rows of codes are `stride` bytes apart.

        code = clamp(round((sum * multiplier + offset + (added * added_multiplier << added_shift)) / 2^shift));
        multiplier (LANES,) int32, offset int64, added and codes of the kind, by address.
        """
        _emit(builder, kind, adds, rows, sums, multiplier, offset, shift, low, high, added, added_multiplier,
              added_shift, codes, stride)

    return finish


def _emit(builder, kind, adds, rows, sums, multiplier, offset, shift, low, high, added, by, left, codes, stride):
    code, one = ir.VectorType(_CODES[kind], LANES), splat(WIDE, 1)
    shift, low, high, by, left = (broadcast(builder, value, WIDE) for value in (shift, low, high, by, left))
    half = builder.shl(one, builder.sub(shift, one))
    below = builder.sub(builder.shl(one, shift), one)                  # the bits that are shifted out
    multiplier = builder.sext(load(builder, multiplier, I64(0), NARROW), WIDE)
    offset = builder.add(load(builder, offset, I64(0), WIDE), half)
    with cgutils.for_range(builder, rows) as loop:
        at = builder.mul(loop.index, stride)
        row = load(builder, sums, builder.mul(loop.index, I64(4 * NR)), NARROW)
        value = builder.add(builder.mul(builder.sext(row, WIDE), multiplier), offset)
        if adds:
            widen = builder.zext if kind == "byte" else builder.sext
            other = builder.mul(widen(load(builder, added, at, code), WIDE), by)
            value = builder.add(value, builder.shl(other, left))
        # Rounded half up; where exactly half was left, to the even one of the two.
        tie = builder.icmp_signed("==", builder.and_(value, below), splat(WIDE, 0))
        value = builder.ashr(value, shift)
        value = builder.select(tie, builder.and_(value, splat(WIDE, -2)), value)
        value = builder.select(builder.icmp_signed("<", value, low), low, value)
        value = builder.select(builder.icmp_signed(">", value, high), high, value)
        store(builder, builder.trunc(value, code), codes, at)


finish_bytes, finish_shorts, finish_ints = (_make_finish(kind, False) for kind in _CODES)
finish_bytes_added, finish_shorts_added = (_make_finish(kind, True) for kind in ("byte", "short"))
