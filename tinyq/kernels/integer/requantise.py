"""Requantise integer sums in vectors: multiplier, offset, an added code, a rounding shift and the limits."""
from llvmlite import ir
from numba.core import cgutils
from numba.types import int64, void

from tinyq.kernels.integer import neon
from tinyq.kernels.integer.tile_shape import LANES, NR
from tinyq.kernels.jit.intrinsics import emits
from tinyq.kernels.jit.isa import SHAPE
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
    code, widen = ir.VectorType(_CODES[kind], LANES), builder.zext if kind == "byte" else builder.sext
    if SHAPE.neon:                      # which multiplies 32-bit numbers to 64 bits, and none of 64
        by = widen(builder.trunc(by, I32), I64)
    shift, low, high, by, left = (broadcast(builder, value, WIDE) for value in (shift, low, high, by, left))
    half, rounded = (_rounding_of_neon if SHAPE.neon else _rounding)(builder, shift, low, high)
    multiplier = builder.sext(load(builder, multiplier, I64(0), NARROW), WIDE)
    offset = load(builder, offset, I64(0), WIDE)
    if half:
        offset = builder.add(offset, half)
    with cgutils.for_range(builder, rows) as loop:
        at = builder.mul(loop.index, stride)
        row = load(builder, sums, builder.mul(loop.index, I64(4 * NR)), NARROW)
        value = builder.add(builder.mul(builder.sext(row, WIDE), multiplier), offset)
        if adds:
            other = builder.mul(widen(load(builder, added, at, code), WIDE), by)
            value = builder.add(value, builder.shl(other, left))
        value = rounded(value)
        store(builder, value if value.type == code else builder.trunc(value, code), codes, at)


def _rounding(builder, shift, low, high):
    """Return what to add before, and the function that then divides by 2^shift, half to even, within the limits."""
    one = splat(WIDE, 1)
    half = builder.shl(one, builder.sub(shift, one))
    below = builder.sub(builder.shl(one, shift), one)                  # the bits that are shifted out

    def rounded(value):
        # Rounded half up; where exactly half was left, to the even one of the two.
        tie = builder.icmp_signed("==", builder.and_(value, below), splat(WIDE, 0))
        value = builder.ashr(value, shift)
        value = builder.select(tie, builder.and_(value, splat(WIDE, -2)), value)
        value = builder.select(builder.icmp_signed("<", value, low), low, value)
        return builder.select(builder.icmp_signed(">", value, high), high, value)

    return half, rounded


def _rounding_of_neon(builder, shift, low, high):
    """_rounding with nothing to add before; the limits are applied in 32 bits."""
    one = splat(WIDE, 1)
    below_half = builder.sub(builder.shl(one, builder.sub(shift, one)), one)
    low, high = (builder.trunc(limit, NARROW) for limit in (low, high))

    def rounded(value):
        odd = builder.and_(builder.ashr(value, shift), one)
        value = neon.narrowed(builder, builder.ashr(builder.add(builder.add(value, below_half), odd), shift))
        value = builder.select(builder.icmp_signed("<", value, low), low, value)
        return builder.select(builder.icmp_signed(">", value, high), high, value)

    return None, rounded


finish_bytes, finish_shorts, finish_ints = (_make_finish(kind, False) for kind in _CODES)
finish_bytes_added, finish_shorts_added = (_make_finish(kind, True) for kind in ("byte", "short"))
