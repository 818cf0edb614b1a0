"""LLVM functions of their own: inlined where they are called, LLVM gave their sums too few registers."""
from llvmlite import ir

_I64 = ir.IntType(64)


def outlined(module, name, arguments, emit):
    """The function tinyq_`name` of so many int64 `arguments`; if need be made by emit(builder, *arguments)."""
    name = f"tinyq_{name}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [_I64] * arguments), name)
    function.linkage = "linkonce_odr"
    function.attributes.add("noinline")
    builder = ir.IRBuilder(function.append_basic_block())
    emit(builder, *function.args)
    builder.ret_void()
    return function
