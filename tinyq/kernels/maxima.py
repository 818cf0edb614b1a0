"""The maxima of LANES pooling windows at once, as a function that numba code can call.

The plane is laid out as for a convolution (plan.py): tap k of virtual pixel q is at offsets[k] + q, so that a tap of
neighbouring windows is one vector. The padding is minus infinity, which beats nothing.
"""
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from tinyq.kernels.vectors import (
    I32,
    I64,
    INTEGERS,
    LANES,
    SINGLES,
    broadcast,
    element,
    load_vector,
    pointer,
    store_vector,
)


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
        plane, y = (pointer(builder, p) for p in (plane, y))
        shifts, origins, places, indices = (pointer(builder, p, I32) for p in (shifts, origins, places, indices))
        offsets = pointer(builder, offsets, I64)
        origin = load_vector(builder, origins, kind=INTEGERS)
        best = cgutils.alloca_once_value(builder, ir.Constant(SINGLES, [float("-inf")] * LANES))
        place = cgutils.alloca_once_value(builder, load_vector(builder, places, kind=INTEGERS))
        with cgutils.for_range(builder, taps) as tap:
            offset, shift = (builder.load(element(builder, p, tap.index)) for p in (offsets, shifts))
            at = builder.add(origin, broadcast(builder, shift, INTEGERS))
            _take_larger(builder, load_vector(builder, plane, offset), at, best, place)
        store_vector(builder, builder.load(best), y)
        store_vector(builder, builder.load(place), indices)
        return context.get_dummy_value()

    return signature, codegen


def _take_larger(builder, value, at, best, place):
    """Where a tap beats the best so far it becomes the best."""
    so_far, where = builder.load(best), builder.load(place)
    taken = builder.or_(builder.fcmp_ordered(">", value, so_far), builder.fcmp_unordered("uno", value, value))
    builder.store(builder.select(taken, value, so_far), best)
    builder.store(builder.select(taken, at, where), place)
