"""The fused multiply-add as a function numba code can call: one rounding, vectorised by LLVM."""
from numba import types
from numba.extending import intrinsic

from tinyq.kernels.simd import llvm


@intrinsic
def fma(typingctx, a, b, c):
    """a * b + c rounded once; float32 or float64 scalars of one type."""
    if not (a == b == c and a in (types.float32, types.float64)):
        return None
    return a(a, b, c), lambda context, builder, signature, args: llvm.fma(builder, *args)
