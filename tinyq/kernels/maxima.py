"""The maxima of 16 pooling windows at once, as a function numba code can call.

The windows' taps are gathered one after another while the maxima and their places stay in registers. A scalar loop
is ten times slower: its comparisons are branches that real activations make unpredictable.
"""
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from tinyq.kernels.windows import GROUP

F32, I1, I32 = ir.FloatType(), ir.IntType(1), ir.IntType(32)
SINGLES, INTEGERS, BITS = (ir.VectorType(t, GROUP) for t in (F32, I32, I1))
POINTERS = ir.VectorType(ir.PointerType(F32), GROUP)


@intrinsic
def window_maxima(typingctx, x, plane, origins, heights, widths, first, step, taps, y, indices, out, count):
    """y[out + o], indices[out + o] = the maximum of window first + o and its place in the plane, o < count <= 16.

    x flat float32 whose plane begins at `plane`; the tables, step and taps of `Windows`; y float32, indices int32.
    The first of equal elements wins; a NaN wins over numbers, the last of several.
    """
    pair = types.UniTuple(types.int64, 2)
    signature = types.void(x, types.int64, origins, heights, widths, types.int64, pair, pair,
                           y, indices, types.int64, types.int64)

    def codegen(context, builder, signature, args):
        x, plane, *tables, first, step, taps, y, indices, out, count = (
            context.make_array(t)(context, builder, a).data if isinstance(t, types.Array) else a
            for t, a in zip(signature.args, args, strict=True))
        image = _splat(builder, builder.gep(x, [plane]), POINTERS)
        origin, height, width = (_load(builder, builder.gep(table, [first])) for table in tables)
        step, taps = cgutils.unpack_tuple(builder, step), cgutils.unpack_tuple(builder, taps)
        best = cgutils.alloca_once_value(builder, ir.Constant(SINGLES, [float("-inf")] * GROUP))
        place = cgutils.alloca_once_value(builder, ir.Constant(INTEGERS, [-1] * GROUP))
        with cgutils.for_range(builder, taps[0]) as row, cgutils.for_range(builder, taps[1]) as column:
            i, j = row.index, column.index
            inside = builder.and_(builder.icmp_signed("<", _splat(builder, i, INTEGERS), height),
                                  builder.icmp_signed("<", _splat(builder, j, INTEGERS), width))
            offset = builder.add(builder.mul(i, step[0]), builder.mul(j, step[1]))
            at = builder.add(origin, _splat(builder, offset, INTEGERS))
            _take_larger(builder, _gather(builder, image, at, inside), at, inside, best, place)
        kept = builder.icmp_signed("<", ir.Constant(INTEGERS, list(range(GROUP))), _splat(builder, count, INTEGERS))
        _store(builder, builder.load(best), builder.gep(y, [out]), kept, "f32")
        _store(builder, builder.load(place), builder.gep(indices, [out]), kept, "i32")
        return context.get_dummy_value()

    return signature, codegen


def _take_larger(builder, value, at, inside, best, place):
    """Where a tap lies inside its window and beats the best so far, or is its first, it becomes the best."""
    so_far, where = builder.load(best), builder.load(place)
    larger = builder.or_(builder.fcmp_ordered(">", value, so_far), builder.fcmp_unordered("uno", value, value))
    none_yet = builder.icmp_signed("<", where, ir.Constant(INTEGERS, [0] * GROUP))
    taken = builder.and_(inside, builder.or_(larger, none_yet))
    builder.store(builder.select(taken, value, so_far), best)
    builder.store(builder.select(taken, at, where), place)


def _load(builder, pointer):
    """16 int32."""
    vector = builder.load(builder.bitcast(pointer, INTEGERS.as_pointer()))
    vector.align = 4
    return vector


def _gather(builder, image, at, inside):
    """The float32 at the indices `at`; those not inside are not touched and read as 0."""
    gather = _function(builder, "llvm.masked.gather.v16f32.v16p0", SINGLES, [POINTERS, I32, BITS, SINGLES])
    addresses = builder.gep(image, [at], source_etype=F32)
    return builder.call(gather, [addresses, I32(4), inside, ir.Constant(SINGLES, [0.0] * GROUP)])


def _store(builder, vector, pointer, kept, suffix):
    """The lanes that are kept."""
    vector_pointer = vector.type.as_pointer()
    store = _function(builder, f"llvm.masked.store.v16{suffix}.p0", ir.VoidType(),
                      [vector.type, vector_pointer, I32, BITS])
    builder.call(store, [vector, builder.bitcast(pointer, vector_pointer), I32(4), kept])


def _function(builder, name, result, arguments):
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, arguments), name)


def _splat(builder, scalar, vector_type):
    """A pointer, or the low 32 bits of an integer, in every lane."""
    if vector_type is INTEGERS:
        scalar = builder.trunc(scalar, I32)
    undefined = ir.Constant(vector_type, ir.Undefined)
    single = builder.insert_element(undefined, scalar, I32(0))
    return builder.shuffle_vector(single, undefined, ir.Constant(INTEGERS, [0] * GROUP))
