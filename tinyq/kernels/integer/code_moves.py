"""Copy, fill and compare codes of one or two bytes, by address."""
from llvmlite import ir
from numba.core import cgutils
from numba.types import int64, void

from tinyq.kernels.integer.tile_shape import BYTES, SHORTS, VECTOR_BYTES
from tinyq.kernels.jit.intrinsics import emits
from tinyq.kernels.simd.llvm import I8, I64, load, store


@emits(void(int64, int64, int64))
def copy_bytes(builder, source, target, count):
    """Copy `count` bytes in whole vectors: up to a vector past the end is read, and overwritten in the target."""
    with cgutils.for_range_slice(builder, I64(0), count, I64(VECTOR_BYTES)) as (at, _):
        store(builder, load(builder, source, at, BYTES), target, at)


@emits(void(*[int64] * 8), outlined_as="copy_runs")
def copy_runs(builder, pixels, source, step, runs, run_step, count, target, stride):
    """Copy `runs` runs of `count` bytes for each of `pixels` pixels, as copy_bytes does.

    Run r of pixel p is at source + p * step + r * run_step, and goes to target + p * stride + r * count.
    """
    with cgutils.for_range(builder, pixels) as pixel:
        source_row = builder.add(source, builder.mul(pixel.index, step))
        target_row = builder.add(target, builder.mul(pixel.index, stride))
        with cgutils.for_range(builder, runs) as run:
            read = builder.add(source_row, builder.mul(run.index, run_step))
            write = builder.add(target_row, builder.mul(run.index, count))
            with cgutils.for_range_slice(builder, I64(0), count, I64(VECTOR_BYTES)) as (at, _):
                store(builder, load(builder, read, at, BYTES), write, at)


@emits(void(*[int64] * 4))
def raise_codes(builder, target, source, count, size):
    """target[j] = max(target[j], source[j]) of `count` codes of `size` bytes: uint8 (1) or int16 (2)."""
    with builder.if_else(builder.icmp_signed("==", size, I64(1))) as (bytes_, shorts):
        for branch, kind, sign in ((bytes_, BYTES, builder.icmp_unsigned), (shorts, SHORTS, builder.icmp_signed)):
            with branch:
                _raise(builder, target, source, count, kind, sign)


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


@emits(void(int64, int64, int64))
def copy_exactly(builder, source, target, count):
    """Copy `count` bytes and touch no others."""
    with cgutils.for_range(builder, count) as loop:
        store(builder, load(builder, source, loop.index, I8), target, loop.index)


@emits(void(*[int64] * 4))
def fill_codes(builder, target, count, code, size):
    """Store `count` equal codes of `size` bytes (1 or 2)."""
    with builder.if_else(builder.icmp_signed("==", size, I64(1))) as (bytes_, shorts):
        for branch, width in ((bytes_, 1), (shorts, 2)):
            with branch:
                value = builder.trunc(code, ir.IntType(8 * width))
                with cgutils.for_range(builder, count) as loop:
                    store(builder, value, target, builder.mul(loop.index, I64(width)))
