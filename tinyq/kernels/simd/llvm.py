"""LLVM types and the code of single operations: load, store, broadcast, fused multiply-add, calls of LLVM's functions.

A place in memory is a base and an index: elements behind a pointer, or bytes behind an integer address.
"""
from llvmlite import ir
from numba.core import cgutils

I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
F32, F64, VOID = ir.FloatType(), ir.DoubleType(), ir.VoidType()
START = I64(0)


def splat(kind: ir.VectorType, number: float) -> ir.Constant:
    """Return a constant with one number in every lane."""
    return ir.Constant(kind, [number] * kind.count)


def pointer(builder: ir.IRBuilder, address: ir.Value, kind: ir.Type = F32) -> ir.Value:
    """Turn an integer address into a pointer to elements of a kind."""
    return builder.inttoptr(address, kind.as_pointer())


def element(builder: ir.IRBuilder, base: ir.Value, index: ir.Value) -> ir.Value:
    """Pointer to an element."""
    return builder.gep(base, [index])


def load(builder: ir.IRBuilder, base: ir.Value, index: ir.Value, kind: ir.Type) -> ir.Value:
    """Load a value of a kind: from a pointer with the alignment of float32, from an address with any."""
    value = builder.load(_place(builder, base, index, kind))
    value.align = _alignment(base)
    return value


def store(builder: ir.IRBuilder, value: ir.Value, base: ir.Value, index: ir.Value) -> None:
    """Store a value at the alignment that load expects."""
    builder.store(value, _place(builder, base, index, value.type)).align = _alignment(base)


def load_masked(builder: ir.IRBuilder, base: ir.Value, index: ir.Value, mask: ir.Value) -> ir.Value:
    """Load a vector of float32 behind a pointer; lanes outside the mask are 0 and their memory is not touched."""
    kind = ir.VectorType(F32, mask.type.count)
    return call(builder, f"llvm.masked.load.v{kind.count}f32.p0", kind, _place(builder, base, index, kind),
                I32(_alignment(base)), mask, splat(kind, 0.0))


def store_masked(builder: ir.IRBuilder, value: ir.Value, base: ir.Value, index: ir.Value, mask: ir.Value) -> None:
    """Store the lanes of a vector of float32 that are in the mask."""
    call(builder, f"llvm.masked.store.v{value.type.count}f32.p0", VOID, value,
         _place(builder, base, index, value.type), I32(_alignment(base)), mask)


def broadcast(builder: ir.IRBuilder, scalar: ir.Value, kind: ir.VectorType) -> ir.Value:
    """Put a number into every lane of a vector; of a wider integer its low bits."""
    if isinstance(scalar.type, ir.IntType) and scalar.type != kind.element:
        scalar = builder.trunc(scalar, kind.element)
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, scalar, I32(0))
    return builder.shuffle_vector(first, undefined, splat(ir.VectorType(I32, kind.count), 0))


def fma(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    """a * b + c rounded once; float32 or float64, scalars or vectors of one type."""
    vector = isinstance(a.type, ir.VectorType)
    width = 32 if (a.type.element if vector else a.type) == F32 else 64
    return call(builder, f"llvm.fma.{f'v{a.type.count}' if vector else ''}f{width}", a.type, a, b, c)


def call(builder: ir.IRBuilder, name: str, result: ir.Type, *arguments: ir.Value) -> ir.Value:
    """Call a function of LLVM's, in most cases one instruction."""
    function = ir.FunctionType(result, [a.type for a in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), arguments)


def keep_order(builder: ir.IRBuilder) -> None:
    """Let no load or store pass this point."""
    builder.asm(ir.FunctionType(VOID, []), "", "~{memory}", [], side_effect=True)


def _place(builder, base, index, kind):
    if isinstance(base.type, ir.IntType):
        return pointer(builder, builder.add(base, index), kind)
    return builder.bitcast(element(builder, base, index), kind.as_pointer())


def _alignment(base):
    return 1 if isinstance(base.type, ir.IntType) else 4
