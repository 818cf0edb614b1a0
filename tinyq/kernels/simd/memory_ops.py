"""Copy, change and store float32 by address, as functions that numba code can call: runs, every second element, tiles.

Addresses are integers and indices count elements, so that compiled code handles no array and counts no reference.
"""
import itertools

from llvmlite import ir
from numba.types import boolean, float32, int64, uintp, void

from tinyq.kernels.jit.intrinsics import emits
from tinyq.kernels.simd.llvm import I32, I64, START, broadcast, element, load, load_masked, pointer, store, store_masked
from tinyq.kernels.simd.vectors import (
    BITS,
    INTEGERS,
    LANES,
    MR,
    SINGLES,
    VECTORS,
    ZEROS,
    change_runs,
    evens,
    first_lanes,
    in_vectors,
)


@emits(void(uintp, uintp, int64, int64, float32, float32))
def store_run(builder, source, target, count, writable, scale, shift):
    """target[j] = source[j] * scale + shift (two roundings) for 0 <= j < count <= NR, given addresses.

    Whole vectors are read, and written as far as the first `writable` elements of the target reach: up to LANES - 1
    elements past the run are clobbered, and the caller must store them afterwards.
    """
    source, target = (pointer(builder, p) for p in (source, target))
    scale, shift = broadcast(builder, scale, SINGLES), broadcast(builder, shift, SINGLES)
    for v in range(VECTORS):
        begin, end = I64(v * LANES), I64((v + 1) * LANES)
        with builder.if_then(builder.icmp_signed(">", count, begin)):
            value = _affine(builder, load(builder, source, begin, SINGLES), scale, shift)
            # A masked store takes several times as long as a plain one.
            with builder.if_else(builder.icmp_signed(">=", writable, end)) as (whole, masked):
                with whole:
                    store(builder, value, target, begin)
                with masked:
                    store_masked(builder, value, target, begin, first_lanes(builder, builder.sub(count, begin)))


@emits(void(uintp, uintp, int64, boolean))
def finish_run(builder, target, added, count, relu):
    """target[j] += added[j] (an address, or 0 for none), and then its ReLU if `relu`, for j < count."""
    adds, target = builder.icmp_unsigned("!=", added, I64(0)), pointer(builder, target)
    # Without anything to add the target itself is read a second time: one loop serves all.
    added = builder.select(adds, pointer(builder, added), target)

    def finished(value, other):
        value = builder.select(adds, builder.fadd(value, other), value)
        rectified = builder.select(builder.fcmp_ordered("<=", value, ZEROS), ZEROS, value)
        return builder.select(relu, rectified, value)

    change_runs(builder, (target, added), target, count, finished)


@emits(void(uintp, uintp, int64))
def copy_floats(builder, source, target, count):
    """Copy `count` float32 from one address to another; inline, as most runs are a few vectors long."""
    source, target = (pointer(builder, p) for p in (source, target))
    change_runs(builder, (source,), target, count, lambda value: value)


@emits(void(uintp, uintp))
def copy_vector(builder, source, target):
    """Copy LANES float32 from one address to another."""
    source, target = (pointer(builder, p) for p in (source, target))
    store(builder, load(builder, source, START, SINGLES), target, START)


@emits(void(uintp, uintp))
def copy_even_vector(builder, source, target):
    """target[j] = source[2 * j] for j < LANES; 2 * LANES elements are read."""
    source, target = (pointer(builder, p) for p in (source, target))
    low, high = (load(builder, source, I64(v * LANES), SINGLES) for v in range(2))
    store(builder, evens(builder, low, high), target, START)


# The second half of a whole vector comes from a load that begins one element early, and so ends with it.
_WHOLE_EVENS = ir.Constant(INTEGERS, [2 * j if j < LANES // 2 else 2 * j + 1 for j in range(LANES)])


@emits(void(uintp, uintp, int64))
def copy_even(builder, source, target, count):
    """target[j] = source[2 * j] for j < count, touching nothing else."""
    source, target = (pointer(builder, p) for p in (source, target))

    def step(at, rest):
        begin = builder.mul(at, I64(2))
        if rest is None:
            low = load(builder, source, begin, SINGLES)
            high = load(builder, source, builder.add(begin, I64(LANES - 1)), SINGLES)
            store(builder, builder.shuffle_vector(low, high, _WHOLE_EVENS), target, at)
            return
        read = builder.sub(builder.mul(rest, I64(2)), I64(1))
        low = load_masked(builder, source, begin, first_lanes(builder, read))
        high = load_masked(builder, source, builder.add(begin, I64(LANES)),
                           first_lanes(builder, builder.sub(read, I64(LANES))))
        store_masked(builder, evens(builder, low, high), target, at, first_lanes(builder, rest))

    in_vectors(builder, count, step)


@emits(void(uintp, uintp, int64, float32, float32))
def store_every_second(builder, source, target, count, scale, shift):
    """target[2 * j] = source[j] * scale + shift (two roundings) for 0 <= j < count <= NR; the odd ones are kept.

    Whole vectors are read.
    """
    source, target = (pointer(builder, p) for p in (source, target))
    scale, shift = broadcast(builder, scale, SINGLES), broadcast(builder, shift, SINGLES)
    even = ir.Constant(BITS, [j % 2 == 0 for j in range(LANES)])
    for half in range(2 * VECTORS):                                 # of a vector of values, spread over a whole one
        begin = half * LANES // 2
        with builder.if_then(builder.icmp_signed(">", count, I64(begin))):
            value = _affine(builder, load(builder, source, I64(half // 2 * LANES), SINGLES), scale, shift)
            lanes = [half % 2 * LANES // 2 + j // 2 for j in range(LANES)]
            value = builder.shuffle_vector(value, value, ir.Constant(INTEGERS, lanes))
            places = ir.Constant(INTEGERS, [begin + j // 2 for j in range(LANES)])
            inside = builder.icmp_signed("<", places, broadcast(builder, count, INTEGERS))
            store_masked(builder, value, target, I64(2 * begin), builder.and_(inside, even))


def _affine(builder, value, scale, shift):
    """value * scale + shift, after -0 has become +0 (contract)."""
    value = builder.fadd(value, ZEROS)
    return builder.fadd(builder.fmul(value, scale), shift)


@emits(float32(uintp, int64))
def load_float(builder, base, index):
    """Return the float32 at an address plus `index` elements, without numba's wrap-around of negative indices."""
    return builder.load(element(builder, pointer(builder, base), index))


@emits(int64(uintp, int64))
def load_index(builder, base, index):
    """Return the int64 at an address plus `index` elements."""
    return builder.load(element(builder, pointer(builder, base, I64), index))


@emits(void(uintp, int64, float32))
def store_float(builder, base, index, value):
    """Store a float32 at an address plus `index` elements."""
    builder.store(value, element(builder, pointer(builder, base), index))


@emits(void(uintp, int64, uintp, int64))
def transpose_tile(builder, source, source_stride, target, target_stride):
    """target[j, i] = source[i, j] for i, j < LANES; row strides count elements."""
    source, target = (pointer(builder, p) for p in (source, target))
    rows = [load(builder, source, builder.mul(source_stride, I64(i)), SINGLES) for i in range(LANES)]
    for i, column in enumerate(_interleaved(builder, rows)):
        store(builder, column, target, builder.mul(target_stride, I64(i)))


@emits(void(uintp, int64, uintp))
def interleave_rows(builder, source, source_stride, target):
    """target[j * MR + i] = source[i * source_stride + j] for i < MR, j < LANES."""
    source, target = (pointer(builder, p) for p in (source, target))
    rows = [load(builder, source, builder.mul(source_stride, I64(i)), SINGLES) for i in range(MR)]
    if MR & (MR - 1) == 0:
        for i, vector in enumerate(_interleaved(builder, rows)):
            store(builder, vector, target, I64(i * LANES))
    else:
        for i, j in itertools.product(range(MR), range(LANES)):
            builder.store(builder.extract_element(rows[i], I32(j)), element(builder, target, I64(j * MR + i)))


def _interleaved(builder, rows):
    """Return the elements of a power of two of vectors, ordered element by element: of LANES vectors, the transpose.

    log2(rows) rounds of interleaving row i with row i + rows / 2 (perfect shuffles).
    """
    half = len(rows) // 2
    low = ir.Constant(INTEGERS, [i // 2 + (i % 2) * LANES for i in range(LANES)])
    high = ir.Constant(INTEGERS, [LANES // 2 + i // 2 + (i % 2) * LANES for i in range(LANES)])
    for _ in range(half.bit_length()):
        pairs = [(rows[i], rows[i + half]) for i in range(half)]
        rows = [builder.shuffle_vector(a, b, order) for a, b in pairs for order in (low, high)]
    return rows
