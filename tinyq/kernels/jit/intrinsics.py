"""LLVM code inside numba code: functions made from an emitter, LLVM functions of their own, arrays without counts."""
import inspect
from collections.abc import Callable

from llvmlite import ir
from numba.core import cgutils
from numba.core.typing import Signature
from numba.extending import intrinsic

_I64 = ir.IntType(64)


def emits(signature: Signature, outlined_as: str | None = None, beyond_base: str = "") -> Callable:
    """Make numba code able to call the decorated emitter of LLVM code, emit(builder, *values).

    signature: numba's, such as void(uintp, int64). The emitter returns the result, or None for void.
    outlined_as: the name of an LLVM function of its own for the code; all arguments must then be int64 or uintp.
    beyond_base: see outlined.
    """
    def decorate(emit):
        def define(typing_context, *arguments):
            return (signature, generate) if len(arguments) == len(signature.args) else None

        def generate(context, builder, _, values):
            if outlined_as:
                builder.call(outlined(builder.module, outlined_as, len(values), emit, beyond_base), values)
                return context.get_dummy_value()
            result = emit(builder, *values)
            return context.get_dummy_value() if result is None else result

        define.__name__, define.__doc__ = emit.__name__, emit.__doc__
        vars(define)["__signature__"] = inspect.signature(emit)          # numba counts the parameters
        return intrinsic(define)

    return decorate


def outlined(module: ir.Module, name: str, arguments: int, emit: Callable, beyond_base: str = "") -> ir.Function:
    """Return the module's function tinyq_`name` of int64 arguments; its body is emit(builder, *arguments).

    beyond_base: instruction sets such as "+dotprod" that the code needs and LLVM may not know this processor to have.

    When these functions were inlined, LLVM gave their sums too few registers.
    """
    name = f"tinyq_{name}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [_I64] * arguments), name)
    function.linkage = "linkonce_odr"
    function.attributes.add("noinline")
    if beyond_base:                                         # llvmlite knows no attributes with a value
        set.add(function.attributes, f'"target-features"="{beyond_base}"')
    builder = ir.IRBuilder(function.append_basic_block())
    emit(builder, *function.args)
    builder.ret_void()
    return function


@intrinsic
def borrowed(_, arrays):
    """Return the same NamedTuple of arrays without reference counts, whose upkeep costs more than a short loop.

    Something else must keep the arrays alive.
    """
    def generate(context, builder, signature, values):
        kept = []
        for kind, value in zip(arrays.types, cgutils.unpack_tuple(builder, values[0]), strict=True):
            view = context.make_array(kind)(context, builder, value)
            view.meminfo = cgutils.get_null_value(view.meminfo.type)
            kept.append(view._getvalue())
        return context.make_tuple(builder, signature.return_type, kept)

    return arrays(arrays), generate
