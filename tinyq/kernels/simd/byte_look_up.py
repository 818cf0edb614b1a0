"""Look-ups of float32 numbers, byte by byte, with NEON: a table of four vectors, one for each byte of its numbers."""
from collections.abc import Sequence

import numpy as np
from llvmlite import ir

from tinyq.kernels.simd.llvm import F32, I8, I32, I64, call, load, splat

BYTES, FLOATS = ir.VectorType(I8, 16), ir.VectorType(F32, 4)


def table_of(levels: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return a table (16,) float32 of up to 16 numbers: first the lowest bytes of all, then the next."""
    table = np.zeros(16, np.float32)
    table[:len(levels)] = levels
    return np.ascontiguousarray(table.view(np.uint8).reshape(16, 4).T).reshape(-1).view(np.float32)


def load_table(builder: ir.IRBuilder, table: ir.Value) -> list[ir.Value]:
    """Load the four vectors of a table behind a pointer to float32."""
    return [load(builder, table, I64(4 * byte), BYTES) for byte in range(4)]


def decoded(builder: ir.IRBuilder, codes: ir.Value, j: int, bits: int, table: list[ir.Value]) -> ir.Value:
    """Return the j-th vector of the numbers whose codes, less than 16, are in vectors of bytes.

    Bits 0 ... bits - 1 of the bytes are the codes of the first 16 numbers, the next bits those of the next 16. Code of
    vectors with 16 numbers in common is emitted again and again; LLVM keeps it once.
    """
    group, quarter = divmod(j, 4)
    codes = builder.bitcast(codes, BYTES)
    if group:
        codes = builder.lshr(codes, splat(BYTES, group * bits))
    codes = builder.and_(codes, splat(BYTES, (1 << bits) - 1))
    found = [look_up(builder, part, codes) for part in table]
    half, quarter = divmod(quarter, 2)
    low, high = (_interleaved(builder, found[byte], found[byte + 1], half) for byte in (0, 2))
    shorts = ir.VectorType(ir.IntType(16), 8)
    low, high = (builder.bitcast(vector, shorts) for vector in (low, high))
    return builder.bitcast(_interleaved(builder, low, high, quarter), FLOATS)


def look_up(builder: ir.IRBuilder, table: ir.Value, indices: ir.Value) -> ir.Value:
    """Return the table's byte for each index below 16 (tbl)."""
    return call(builder, "llvm.aarch64.neon.tbl1.v16i8", BYTES, table, indices)


def _interleaved(builder, a, b, half):
    """The first or the second half of a[0], b[0], a[1], b[1], ... (zip1, zip2)."""
    count = a.type.count
    lanes = [half * count // 2 + i // 2 + (i % 2) * count for i in range(count)]
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, count), lanes))
