"""Moving codes of one or two bytes between addresses (integers)."""
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from tinyq.kernels.integer.dots import BYTES, I8, I64, SHORTS, VECTOR_BYTES, load, store
from tinyq.kernels.jit.outlined import outlined


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
def copy_runs(typingctx, pixels, source, step, runs, run_step, count, target, pitch):
    """copy_bytes of `runs` runs of `count` bytes for each of some pixels.

    Run r of pixel p is at source + p * step + r * run_step, and goes to target + p * pitch + r * count.
    """
    def codegen(context, builder, sig, args):
        builder.call(outlined(builder.module, "copy_runs", 8, _emit_copy_runs), args)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 8), codegen


def _emit_copy_runs(builder, pixels, source, step, runs, run_step, count, target, pitch):
    with cgutils.for_range(builder, pixels) as pixel:
        source_row = builder.add(source, builder.mul(pixel.index, step))
        target_row = builder.add(target, builder.mul(pixel.index, pitch))
        with cgutils.for_range(builder, runs) as run:
            read = builder.add(source_row, builder.mul(run.index, run_step))
            write = builder.add(target_row, builder.mul(run.index, count))
            with cgutils.for_range_slice(builder, I64(0), count, I64(VECTOR_BYTES)) as (at, _):
                store(builder, load(builder, read, at, BYTES), write, at)


@intrinsic
def raise_codes(typingctx, target, source, count, size):
    """target[j] = max(target[j], source[j]) of `count` codes of `size` bytes: uint8 (1) or int16 (2)."""
    def codegen(context, builder, sig, args):
        target, source, count, size = args
        with builder.if_else(builder.icmp_signed("==", size, I64(1))) as (bytes_, shorts):
            for branch, kind, sign in ((bytes_, BYTES, builder.icmp_unsigned), (shorts, SHORTS, builder.icmp_signed)):
                with branch:
                    _raise(builder, target, source, count, kind, sign)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), codegen


def _raise(builder, target, source, count, kind, compare):
    """Whole vectors, then code by code."""
    width = kind.element.width // 8
    whole = builder.and_(count, I64(-kind.count))

    def step(index, kind):
        at = builder.mul(index, I64(width))
        a, b = load(builder, target, at, kind), load(builder, source, at, kind)
        store(builder, builder.select(compare(">", a, b), a, b), target, at)

    with cgutils.for_range_slice(builder, I64(0), whole, I64(kind.count)) as (index, _):
        step(index, kind)
    with cgutils.for_range_slice(builder, whole, count, I64(1)) as (index, _):
        step(index, kind.element)


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
