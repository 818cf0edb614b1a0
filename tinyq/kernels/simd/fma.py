"""The fused multiply-add as a function numba code can call: one rounding, vectorised by LLVM."""
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


@intrinsic
def fma(typingctx, a, b, c):
    """a * b + c rounded once; float32 or float64 scalars of one type."""
    if not (a == b == c and a in (types.float32, types.float64)):
        return None
    llvm_type, suffix = (ir.FloatType(), "f32") if a == types.float32 else (ir.DoubleType(), "f64")

    def codegen(context, builder, signature, args):
        function_type = ir.FunctionType(llvm_type, [llvm_type] * 3)
        return builder.call(cgutils.get_or_insert_function(builder.module, function_type, f"llvm.fma.{suffix}"), args)

    return a(a, b, c), codegen
