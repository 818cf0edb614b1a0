"""Moving float32 between addresses, as functions that numba code can call: runs, every second element, tiles.

Addresses are integers and indices count elements, so that compiled code handles no array and counts no reference.
"""
import itertools

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tinyq.kernels.simd.vectors import (
    BITS,
    I32,
    I64,
    INTEGERS,
    LANES,
    ROWS,
    VECTORS,
    ZEROS,
    broadcast,
    change_runs,
    element,
    evens,
    first_lanes,
    in_vectors,
    load_masked,
    load_vector,
    pointer,
    store_masked,
    store_vector,
)


@intrinsic
def store_run(typingctx, source, target, count, room, scale, shift):
    """target[j] = source[j] * scale + shift (two roundings) for 0 <= j < count <= COLUMNS, given addresses.

    Whole vectors are read and, where the first `room` places allow, written: what lies behind the run is overwritten
    with anything, and is to be stored afterwards.
    """
    signature = types.void(types.uintp, types.uintp, types.int64, types.int64, types.float32, types.float32)

    def codegen(context, builder, sig, args):
        source, target, count, room, scale, shift = args
        source, target = (pointer(builder, p) for p in (source, target))
        scale, shift = broadcast(builder, scale), broadcast(builder, shift)
        for v in range(VECTORS):
            begin, end = I64(v * LANES), I64((v + 1) * LANES)
            with builder.if_then(builder.icmp_signed(">", count, begin)):
                value = _affine(builder, load_vector(builder, source, begin), scale, shift)
                # A masked store takes several times as long as a plain one.
                with builder.if_else(builder.icmp_signed(">=", room, end)) as (plainly, masked):
                    with plainly:
                        store_vector(builder, value, target, begin)
                    with masked:
                        store_masked(builder, value, target, begin, first_lanes(builder, builder.sub(count, begin)))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def finish_run(typingctx, target, added, count, relu):
    """target[j] += added[j] (an address, or 0 for none), and then its ReLU if `relu`, for j < count."""
    signature = types.void(types.uintp, types.uintp, types.int64, types.boolean)

    def codegen(context, builder, sig, args):
        target, added, count, relu = args
        adds, target = builder.icmp_unsigned("!=", added, I64(0)), pointer(builder, target)
        # Without anything to add the target itself is read a second time: one loop serves all.
        added = builder.select(adds, pointer(builder, added), target)

        def finished(value, other):
            value = builder.select(adds, builder.fadd(value, other), value)
            rectified = builder.select(builder.fcmp_ordered("<=", value, ZEROS), ZEROS, value)
            return builder.select(relu, rectified, value)

        change_runs(builder, (target, added), target, count, finished)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def copy_floats(typingctx, source, target, count):
    """Copy `count` float32 from one address to another; inline, as most runs are a few vectors long."""
    signature = types.void(types.uintp, types.uintp, types.int64)

    def codegen(context, builder, sig, args):
        source, target, count = args
        source, target = (pointer(builder, p) for p in (source, target))
        change_runs(builder, (source,), target, count, lambda value: value)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def copy_vector(typingctx, source, target):
    """Copy LANES float32 from one address to another."""
    def codegen(context, builder, sig, args):
        source, target = (pointer(builder, p) for p in args)
        store_vector(builder, load_vector(builder, source, I64(0)), target, I64(0))
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp), codegen


@intrinsic
def copy_even_vector(typingctx, source, target):
    """target[j] = source[2 * j] for j < LANES; 2 * LANES elements are read."""
    def codegen(context, builder, sig, args):
        source, target = (pointer(builder, p) for p in args)
        low, high = (load_vector(builder, source, I64(v * LANES)) for v in range(2))
        store_vector(builder, evens(builder, low, high), target, I64(0))
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp), codegen


@intrinsic
def copy_even(typingctx, source, target, count):
    """target[j] = source[2 * j] for j < count, touching nothing else."""
    signature = types.void(types.uintp, types.uintp, types.int64)
    # The second half of a whole vector comes from a load that begins one element early, and so ends with it.
    whole_evens = ir.Constant(INTEGERS, [2 * j if j < LANES // 2 else 2 * j + 1 for j in range(LANES)])

    def codegen(context, builder, sig, args):
        source, target, count = args
        source, target = (pointer(builder, p) for p in (source, target))

        def step(at, rest):
            begin = builder.mul(at, I64(2))
            if rest is None:
                low = load_vector(builder, source, begin)
                high = load_vector(builder, source, builder.add(begin, I64(LANES - 1)))
                store_vector(builder, builder.shuffle_vector(low, high, whole_evens), target, at)
                return
            read = builder.sub(builder.mul(rest, I64(2)), I64(1))
            low = load_masked(builder, source, begin, first_lanes(builder, read))
            high = load_masked(builder, source, builder.add(begin, I64(LANES)),
                               first_lanes(builder, builder.sub(read, I64(LANES))))
            store_masked(builder, evens(builder, low, high), target, at, first_lanes(builder, rest))

        in_vectors(builder, count, step)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def store_every_second(typingctx, source, target, count, scale, shift):
    """target[2 * j] = source[j] * scale + shift (two roundings) for 0 <= j < count <= COLUMNS; the odd ones are kept.

    Whole vectors are read.
    """
    signature = types.void(types.uintp, types.uintp, types.int64, types.float32, types.float32)

    def codegen(context, builder, sig, args):
        source, target, count, scale, shift = args
        source, target = (pointer(builder, p) for p in (source, target))
        scale, shift = broadcast(builder, scale), broadcast(builder, shift)
        index = INTEGERS
        even = ir.Constant(BITS, [j % 2 == 0 for j in range(LANES)])
        for half in range(2 * VECTORS):                                 # of a vector of values, spread over a whole one
            begin = half * LANES // 2
            with builder.if_then(builder.icmp_signed(">", count, I64(begin))):
                value = _affine(builder, load_vector(builder, source, I64(half // 2 * LANES)), scale, shift)
                spread = [half % 2 * LANES // 2 + j // 2 for j in range(LANES)]
                value = builder.shuffle_vector(value, value, ir.Constant(index, spread))
                places = ir.Constant(index, [begin + j // 2 for j in range(LANES)])
                inside = builder.icmp_signed("<", places, broadcast(builder, count, INTEGERS))
                store_masked(builder, value, target, I64(2 * begin), builder.and_(inside, even))
        return context.get_dummy_value()

    return signature, codegen


def _affine(builder, value, scale, shift):
    """value * scale + shift, after -0 has become +0 (contract)."""
    value = builder.fadd(value, ZEROS)
    return builder.fadd(builder.fmul(value, scale), shift)


@intrinsic
def peek(typingctx, base, index):
    """The float32 at an address plus `index` elements, without numba's wrap-around of negative indices."""
    def codegen(context, builder, sig, args):
        return builder.load(element(builder, pointer(builder, args[0]), args[1]))

    return types.float32(types.uintp, types.int64), codegen


@intrinsic
def peek_index(typingctx, base, index):
    """The int64 at an address plus `index` elements."""
    def codegen(context, builder, sig, args):
        return builder.load(element(builder, pointer(builder, args[0], I64), args[1]))

    return types.int64(types.uintp, types.int64), codegen


@intrinsic
def poke(typingctx, base, index, value):
    """Store a float32 at an address plus `index` elements."""
    def codegen(context, builder, sig, args):
        builder.store(args[2], element(builder, pointer(builder, args[0]), args[1]))
        return context.get_dummy_value()

    return types.void(types.uintp, types.int64, types.float32), codegen


@intrinsic
def transpose_tile(typingctx, source, source_row, target, target_row):
    """target[j, i] = source[i, j] for i, j < LANES; row strides count elements."""
    signature = types.void(types.uintp, types.int64, types.uintp, types.int64)

    def codegen(context, builder, sig, args):
        source, source_row, target, target_row = args
        source, target = (pointer(builder, p) for p in (source, target))
        rows = [load_vector(builder, source, builder.mul(source_row, I64(i))) for i in range(LANES)]
        for i, column in enumerate(_interleaved(builder, rows)):
            store_vector(builder, column, target, builder.mul(target_row, I64(i)))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def interleave_rows(typingctx, source, source_row, target):
    """target[j * ROWS + i] = source[i * source_row + j] for i < ROWS, j < LANES."""
    signature = types.void(types.uintp, types.int64, types.uintp)

    def codegen(context, builder, sig, args):
        source, source_row, target = args
        source, target = (pointer(builder, p) for p in (source, target))
        rows = [load_vector(builder, source, builder.mul(source_row, I64(i))) for i in range(ROWS)]
        if ROWS & (ROWS - 1) == 0:
            for i, vector in enumerate(_interleaved(builder, rows)):
                store_vector(builder, vector, target, I64(i * LANES))
        else:
            for i, j in itertools.product(range(ROWS), range(LANES)):
                builder.store(builder.extract_element(rows[i], I32(j)), element(builder, target, I64(j * ROWS + i)))
        return context.get_dummy_value()

    return signature, codegen


def _interleaved(builder, rows):
    """A power of two of vectors, their elements in the order element by element: of LANES vectors, the transpose.

    log2(rows) rounds of interleaving row i with row i + rows / 2 (perfect shuffles).
    """
    half, index = len(rows) // 2, INTEGERS
    low = ir.Constant(index, [i // 2 + (i % 2) * LANES for i in range(LANES)])
    high = ir.Constant(index, [LANES // 2 + i // 2 + (i % 2) * LANES for i in range(LANES)])
    for _ in range(half.bit_length()):
        pairs = [(rows[i], rows[i + half]) for i in range(half)]
        rows = [builder.shuffle_vector(a, b, order) for a, b in pairs for order in (low, high)]
    return rows
