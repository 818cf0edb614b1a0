"""Run a script as on a processor with AMX, its tile registers emulated: python emulated_tiles.py SCRIPT ARG...

The tile instructions are replaced where they are emitted, by what Intel's manual says that they do: a load touches 16
rows of 64 bytes and nothing else, a product sums unsigned codes times signed levels. The kernels are not those that
are kept for this processor: give the script a TINYQ_CACHE of its own.
"""
import runpy
import sys

import pretended_tiles  # noqa: F401  before isa.py looks
from llvmlite import ir
from numba.core import cgutils

from tinyq.kernels.integer import amx
from tinyq.kernels.integer.tile_shape import SUMS
from tinyq.kernels.simd import llvm
from tinyq.kernels.simd.llvm import I32, I64

ROWS, WORDS = 16, 16


def _registers(builder):
    """The function's own tile registers, of 16 vectors each."""
    entry = builder.function.entry_basic_block
    found = [i for i in entry.instructions if i.name == "tile_registers"]
    return found[0] if found else cgutils.alloca_once(builder, ir.ArrayType(SUMS, amx.REGISTERS * ROWS),
                                                      name="tile_registers")


def _row(builder, register, row):
    """The place of a row (an LLVM integer or a number) of a register."""
    at = builder.add(I64(register * ROWS), I64(row) if isinstance(row, int) else row)
    return builder.gep(_registers(builder), [I64(0), at])


def nothing(builder):
    """Registers need neither setting up nor releasing."""


def zero(builder, register):
    for row in range(ROWS):
        builder.store(ir.Constant(SUMS, [0] * WORDS), _row(builder, register, row))


def load(builder, register, address, stride):
    for row in range(ROWS):
        builder.store(llvm.load(builder, address, builder.mul(stride, I64(row)), SUMS), _row(builder, register, row))


def store(builder, register, address, stride):
    for row in range(ROWS):
        llvm.store(builder, builder.load(_row(builder, register, row)), address, builder.mul(stride, I64(row)))


def add_products(builder, sums, codes, levels):
    with cgutils.for_range(builder, I64(ROWS)) as loop:
        total, words = _row(builder, sums, loop.index), builder.load(_row(builder, codes, loop.index))
        for q in range(WORDS):
            four = llvm.broadcast(builder, builder.extract_element(words, I32(q)), SUMS)
            products = _products(builder, four, builder.load(_row(builder, levels, q)))
            builder.store(builder.add(builder.load(total), products), total)


def _products(builder, codes, levels):
    """Of each lane's four bytes, widened: nothing that the kernels themselves use."""
    sums = ir.Constant(SUMS, [0] * WORDS)
    for i in range(4):
        left = ir.Constant(SUMS, [24 - 8 * i] * WORDS)
        unsigned = builder.lshr(builder.shl(codes, left), ir.Constant(SUMS, [24] * WORDS))
        signed = builder.ashr(builder.shl(levels, left), ir.Constant(SUMS, [24] * WORDS))
        sums = builder.add(sums, builder.mul(unsigned, signed))
    return sums


amx.configure = amx.release = nothing
amx.zero, amx.load, amx.store, amx.add_products = zero, load, store, add_products

if __name__ == "__main__":
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
