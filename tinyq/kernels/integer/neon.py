"""The NEON instructions of the integer kernels: vectors of 128 bits, of signed numbers unless it says otherwise."""
from llvmlite import ir

from tinyq.kernels.simd.llvm import I8, I16, I32, call

BYTES, SHORTS, WORDS = ir.VectorType(I8, 16), ir.VectorType(I16, 8), ir.VectorType(I32, 4)


def add_dots(builder: ir.IRBuilder, sums: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
    """Return sums + in each word four products of bytes of a and b (sdot, of the extension dotprod)."""
    return call(builder, "llvm.aarch64.neon.sdot.v4i32.v16i8", WORDS, sums, a, b)


def add_mixed_dots(builder: ir.IRBuilder, sums: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
    """Return sums + in each word four products of unsigned bytes of a and signed bytes of b (usdot, of i8mm)."""
    return call(builder, "llvm.aarch64.neon.usdot.v4i32.v16i8", WORDS, sums, a, b)


def add_matrix(builder: ir.IRBuilder, sums: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
    """Return sums + a b', sums 2 x 2, a 2 x 8 unsigned and b 2 x 8 signed bytes (usmmla, of the extension i8mm)."""
    return call(builder, "llvm.aarch64.neon.usmmla.v4i32.v16i8", WORDS, sums, a, b)


def add_signed_matrix(builder: ir.IRBuilder, sums: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
    """Return sums + a b', as add_matrix, of signed bytes alone (smmla)."""
    return call(builder, "llvm.aarch64.neon.smmla.v4i32.v16i8", WORDS, sums, a, b)


def narrowed(builder: ir.IRBuilder, wide: ir.Value) -> ir.Value:
    """Return four 64-bit numbers in 32 bits, those beyond at the nearest end (sqxtn)."""
    two = ir.VectorType(I32, 2)
    halves = (builder.shuffle_vector(wide, wide, ir.Constant(two, lanes)) for lanes in ([0, 1], [2, 3]))
    low, high = (call(builder, "llvm.aarch64.neon.sqxtn.v2i32", two, half) for half in halves)
    return builder.shuffle_vector(low, high, ir.Constant(WORDS, [0, 1, 2, 3]))


def products_of_bytes(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """Return the 8 products of half vectors of bytes (smull; with an addition, smlal)."""
    return call(builder, "llvm.aarch64.neon.smull.v8i16", SHORTS, a, b)


def products_of_shorts(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """Return the 4 products of half vectors of 16-bit numbers (smull; with an addition, smlal)."""
    return call(builder, "llvm.aarch64.neon.smull.v4i32", WORDS, a, b)


def sums_of_pairs(builder: ir.IRBuilder, low: ir.Value, high: ir.Value) -> ir.Value:
    """Return the sums of neighbours in 16 bits, those of `low` first (addp)."""
    return call(builder, "llvm.aarch64.neon.addp.v8i16", SHORTS, low, high)


def wide_sums_of_pairs(builder: ir.IRBuilder, shorts: ir.Value) -> ir.Value:
    """Return the sums of neighbours in 32 bits (saddlp; with an addition, sadalp)."""
    return call(builder, "llvm.aarch64.neon.saddlp.v4i32.v8i16", WORDS, shorts)


def sums_of_signed(builder: ir.IRBuilder, a: ir.Value) -> ir.Value:
    """Return the sums of neighbouring bytes in 16 bits (saddlp)."""
    return call(builder, "llvm.aarch64.neon.saddlp.v8i16.v16i8", SHORTS, a)


def sums_of_unsigned(builder: ir.IRBuilder, a: ir.Value) -> ir.Value:
    """Return the sums of neighbouring unsigned bytes in 16 bits (uaddlp)."""
    return call(builder, "llvm.aarch64.neon.uaddlp.v8i16.v16i8", SHORTS, a)
