"""Moving codes of one or two bytes between addresses (integers)."""
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from tinyq.kernels.dots import BYTES, I8, I64, VECTOR_BYTES, load, store


@intrinsic
def copy_bytes(typingctx, source, target, count):
    """Copy `count` bytes in whole vectors: up to a vector behind both ends is read and overwritten."""
    def codegen(context, builder, sig, args):
        source, target, count = args
        with cgutils.for_range_slice(builder, I64(0), count, I64(VECTOR_BYTES)) as (at, _):
            store(builder, load(builder, source, at, BYTES), target, at)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def copy_exactly(typingctx, source, target, count):
    """Copy `count` bytes and touch no others."""
    def codegen(context, builder, sig, args):
        source, target, count = args
        with cgutils.for_range(builder, count) as loop:
            store(builder, load(builder, source, loop.index, I8), target, loop.index)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def fill_codes(typingctx, target, count, code, size):
    """`count` codes of `size` bytes (1 or 2), all the same."""
    def codegen(context, builder, sig, args):
        target, count, code, size = args
        with builder.if_else(builder.icmp_signed("==", size, I64(1))) as (bytes_, shorts):
            for branch, width in ((bytes_, 1), (shorts, 2)):
                with branch:
                    value = builder.trunc(code, ir.IntType(8 * width))
                    with cgutils.for_range(builder, count) as loop:
                        store(builder, value, target, builder.mul(loop.index, I64(width)))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), codegen
