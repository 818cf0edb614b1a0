"""What stands behind integer sums: multiplier, offset, an added code, a rounding shift and the limits, in vectors."""
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tinyq.kernels.dots import I8, I16, I32, I64, LANES, load, spread, store

WIDE = ir.VectorType(I64, LANES)
_CODES = {"byte": I8, "short": I16, "int": I32}
_FINISH = types.void(*[types.int64] * 11)


def _make_finish(kind, adds):
    """The function for codes of a kind, and whether other codes are added."""
    @intrinsic
    def finish(typingctx, sums, multiplier, offset, shift, low, high, added, added_multiplier, added_shift, codes, v):
        """codes[LANES] = clamp(round((sums * multiplier + offset + (added * added_multiplier << added_shift)) >> shift)).

        Vector v of each array; sums, multiplier int32, offset int64, added and codes of the kind, by address.
        """
        def codegen(context, builder, sig, args):
            sums, multiplier, offset, shift, low, high, added, added_multiplier, added_shift, codes, v = args
            code = ir.VectorType(_CODES[kind], LANES)
            at = builder.mul(v, I64(4 * LANES))
            code_at = builder.mul(v, I64(LANES * code.element.width // 8))
            value = builder.mul(builder.sext(load(builder, sums, at), WIDE),
                                builder.sext(load(builder, multiplier, at), WIDE))
            value = builder.add(value, load(builder, offset, builder.shl(at, I64(1)), WIDE))
            if adds:
                widen = builder.zext if kind == "byte" else builder.sext
                other = widen(load(builder, added, code_at, code), WIDE)
                other = builder.mul(other, spread(builder, added_multiplier, WIDE))
                value = builder.add(value, builder.shl(other, spread(builder, added_shift, WIDE)))
            value = _rounded(builder, value, shift)
            value = _limited(builder, value, low, "<")
            value = _limited(builder, value, high, ">")
            store(builder, builder.trunc(value, code), codes, code_at)
            return context.get_dummy_value()

        return _FINISH, codegen

    return finish


def _rounded(builder, value, shift):
    """value / 2^shift, half to even (packed/program.py, rounded)."""
    one = ir.Constant(WIDE, [1] * LANES)
    by = spread(builder, shift, WIDE)
    below_half = builder.sub(builder.shl(one, builder.sub(by, one)), one)
    odd = builder.and_(builder.ashr(value, by), one)
    return builder.ashr(builder.add(builder.add(value, below_half), odd), by)


def _limited(builder, value, limit, sign):
    limit = spread(builder, limit, WIDE)
    return builder.select(builder.icmp_signed(sign, value, limit), limit, value)


finish_bytes, finish_shorts, finish_ints = (_make_finish(kind, False) for kind in _CODES)
finish_bytes_added, finish_shorts_added = (_make_finish(kind, True) for kind in ("byte", "short"))
