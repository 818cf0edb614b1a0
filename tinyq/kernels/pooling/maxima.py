"""The maxima of WINDOWS pooling windows at once, as a function that numba code can call.

The plane is packed as for a convolution (conv_plan.py): tap k of virtual pixel q is at offsets[k] + q, so that a tap of
neighbouring windows is one vector. The padding is minus infinity, which never wins.
"""
import numpy as np
from numba.core import cgutils
from numba.types import int64, uintp, void

from tinyq.kernels.jit.intrinsics import emits
from tinyq.kernels.simd.llvm import I32, I64, broadcast, element, load, pointer, splat, store
from tinyq.kernels.simd.vectors import INTEGERS, LANES, SINGLES

MINUS_INFINITY = np.float32(-np.inf)   # the initial maximum of a window, and its padding
_VECTORS = 4 if LANES == 16 else 2      # whose comparisons do not wait for each other; three registers each
WINDOWS = _VECTORS * LANES


@emits(void(*[uintp] * 3, int64, *[uintp] * 4))
def window_maxima(builder, plane, offsets, shifts, taps, origins, places, y, indices):
    """y[:WINDOWS], indices[:WINDOWS] = the maximum of each of WINDOWS neighbouring windows and its place in the image.

    Addresses: plane, of the first window's first virtual pixel; offsets (taps,) int64 in the layout and shifts (taps,)
    int32 in the image; origins and places (WINDOWS,) int32, each window's own shift and the place of its first tap
    inside the image; y float32 and indices int32. The first of equal elements wins; a NaN wins over numbers, the last
    of several.
    """
    plane, y = (pointer(builder, p) for p in (plane, y))
    shifts, origins, places, indices = (pointer(builder, p, I32) for p in (shifts, origins, places, indices))
    offsets = pointer(builder, offsets, I64)
    firsts = [I64(v * LANES) for v in range(_VECTORS)]
    origin = [load(builder, origins, first, INTEGERS) for first in firsts]
    best = [cgutils.alloca_once_value(builder, splat(SINGLES, float("-inf"))) for _ in firsts]
    place = [cgutils.alloca_once_value(builder, load(builder, places, first, INTEGERS)) for first in firsts]
    with cgutils.for_range(builder, taps) as tap:
        offset, shift = (builder.load(element(builder, p, tap.index)) for p in (offsets, shifts))
        shift = broadcast(builder, shift, INTEGERS)
        for v, first in enumerate(firsts):
            value = load(builder, plane, builder.add(offset, first), SINGLES)
            _take_larger(builder, value, builder.add(origin[v], shift), best[v], place[v])
    for v, first in enumerate(firsts):
        store(builder, builder.load(best[v]), y, first)
        store(builder, builder.load(place[v]), indices, first)


def beats(builder, value, so_far):
    """Condition under which an element replaces the maximum so far: it is greater, or a NaN."""
    return builder.or_(builder.fcmp_ordered(">", value, so_far), builder.fcmp_unordered("uno", value, value))


def _take_larger(builder, value, at, best, place):
    """Replace the maximum and its place where the tap beats it."""
    so_far, where = builder.load(best), builder.load(place)
    taken = beats(builder, value, so_far)
    builder.store(builder.select(taken, value, so_far), best)
    builder.store(builder.select(taken, at, where), place)
