"""The maxima of LANES pooling windows at once, as a function that numba code can call.

The plane is laid out as for a convolution (plan.py): tap k of virtual pixel q is at offsets[k] + q, so that a tap of
neighbouring windows is one vector. The padding is minus infinity, which beats nothing.
"""
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from tinyq.kernels.micro import F32, I32, I64, LANES

SINGLES, INTEGERS = (ir.VectorType(t, LANES) for t in (F32, I32))


@intrinsic
def window_maxima(typingctx, plane, offsets, shifts, taps, origins, places, y, indices):
    """y[:LANES], indices[:LANES] = the maximum of each of LANES neighbouring windows and its place in the image.

    Addresses: plane, of the first window's first virtual pixel; offsets (taps,) int64 in the layout and shifts (taps,)
    int32 in the image; origins and places (LANES,) int32, each window's own shift and the place of its first tap inside
    the image; y float32 and indices int32. The first of equal elements wins; a NaN wins over numbers, the last of
    several.
    """
    signature = types.void(*[types.uintp] * 3, types.int64, *[types.uintp] * 4)

    def codegen(context, builder, sig, args):
        plane, offsets, shifts, taps, origins, places, y, indices = args
        plane, y = (builder.inttoptr(p, F32.as_pointer()) for p in (plane, y))
        shifts, origins, places, indices = (
            builder.inttoptr(p, I32.as_pointer()) for p in (shifts, origins, places, indices))
        offsets = builder.inttoptr(offsets, I64.as_pointer())
        origin = _load(builder, origins, INTEGERS)
        best = cgutils.alloca_once_value(builder, ir.Constant(SINGLES, [float("-inf")] * LANES))
        place = cgutils.alloca_once(builder, INTEGERS)
        builder.store(_load(builder, places, INTEGERS), place)
        with cgutils.for_range(builder, taps) as tap:
            value = _load(builder, builder.gep(plane, [_element(builder, offsets, tap.index)]), SINGLES)
            at = builder.add(origin, _splat(builder, _element(builder, shifts, tap.index)))
            _take_larger(builder, value, at, best, place)
        _store(builder, builder.load(best), y)
        _store(builder, builder.load(place), indices)
        return context.get_dummy_value()

    return signature, codegen


def _take_larger(builder, value, at, best, place):
    """Where a tap beats the best so far it becomes the best."""
    so_far, where = builder.load(best), builder.load(place)
    taken = builder.or_(builder.fcmp_ordered(">", value, so_far), builder.fcmp_unordered("uno", value, value))
    builder.store(builder.select(taken, value, so_far), best)
    builder.store(builder.select(taken, at, where), place)


def _element(builder, base, index):
    return builder.load(builder.gep(base, [index]))


def _load(builder, pointer, kind):
    vector = builder.load(builder.bitcast(pointer, kind.as_pointer()))
    vector.align = 4
    return vector


def _store(builder, vector, pointer):
    builder.store(vector, builder.bitcast(pointer, vector.type.as_pointer())).align = 4


def _splat(builder, scalar):
    """An int32 in every lane."""
    undefined = ir.Constant(INTEGERS, ir.Undefined)
    single = builder.insert_element(undefined, scalar, I32(0))
    return builder.shuffle_vector(single, undefined, ir.Constant(INTEGERS, [0] * LANES))
