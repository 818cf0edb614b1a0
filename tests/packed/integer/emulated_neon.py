"""Run a script with the kernels for ARM on another processor: TINYQ_ISA=... python emulated_neon.py SCRIPT ARG...

NEON's instructions are replaced, where they are emitted, by what Arm's manual says that they do, written with
operations that LLVM has for every processor.
"""
import dataclasses
import functools
import runpy
import sys

import pretended_neon  # noqa: F401  before the kernels look
from llvmlite import ir

from tinyq.kernels.integer import neon
from tinyq.kernels.jit import isa
from tinyq.kernels.simd import byte_look_up
from tinyq.kernels.simd.llvm import I8, I16, I32, splat


def picked(builder, vector, lanes):
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined),
                                  ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes)))


def widened(builder, vector, element, signed=True):
    extend = builder.sext if signed else builder.zext
    return extend(vector, ir.VectorType(element, vector.type.count))


def sums_of(builder, wide, each):
    """Sums of `each` neighbours in each lane."""
    return _total(builder, [picked(builder, wide, range(i, wide.type.count, each)) for i in range(each)])


def _total(builder, vectors):
    first, *others = vectors
    for other in others:
        first = builder.add(first, other)
    return first


def dots(signed):
    def add(builder, sums, a, b):
        products = builder.mul(widened(builder, a, I32, signed), widened(builder, b, I32))
        return builder.add(sums, sums_of(builder, products, 4))

    return add


def add_matrix(builder, sums, a, b, signed=False):
    rows, columns = widened(builder, a, I32, signed), widened(builder, b, I32)
    for i in range(2):
        for j in range(2):
            products = builder.mul(*(picked(builder, v, range(8 * h, 8 * h + 8)) for v, h in ((rows, i), (columns, j))))
            total = _total(builder, [builder.extract_element(products, I32(lane)) for lane in range(8)])
            place = I32(2 * i + j)
            sums = builder.insert_element(sums, builder.add(builder.extract_element(sums, place), total), place)
    return sums


def products(element):
    return lambda builder, a, b: builder.mul(widened(builder, a, element), widened(builder, b, element))


def sums_of_pairs(builder, low, high):
    both = builder.shuffle_vector(low, high, ir.Constant(ir.VectorType(I32, 16), list(range(16))))
    return sums_of(builder, both, 2)


def wide_sums(element, signed=True):
    return lambda builder, a: sums_of(builder, widened(builder, a, element, signed), 2)


def look_up(builder, table, indices):
    """An index beyond the table gives 0."""
    result = ir.Constant(neon.BYTES, [0] * 16)
    for lane in range(16):
        index = builder.extract_element(indices, I32(lane))
        inside = builder.icmp_unsigned("<", index, I8(16))
        value = builder.extract_element(table, builder.zext(builder.and_(index, I8(15)), I32))
        result = builder.insert_element(result, builder.select(inside, value, I8(0)), I32(lane))
    return result


def narrowed(builder, wide):
    for sign, end in ((">", 2**31 - 1), ("<", -2**31)):
        limit = splat(wide.type, end)
        wide = builder.select(builder.icmp_signed(sign, wide, limit), limit, wide)
    return builder.trunc(wide, neon.WORDS)


isa.SHAPE = isa.ISA = dataclasses.replace(isa.ISA, beyond_base="")      # which no other processor's LLVM knows
neon.add_dots, neon.add_mixed_dots, neon.add_matrix = dots(True), dots(False), add_matrix
neon.add_signed_matrix = functools.partial(add_matrix, signed=True)
neon.products_of_bytes, neon.products_of_shorts = products(I16), products(I32)
neon.sums_of_pairs, neon.wide_sums_of_pairs = sums_of_pairs, wide_sums(I32)
neon.sums_of_signed, neon.sums_of_unsigned = wide_sums(I16), wide_sums(I16, False)
neon.narrowed = narrowed
byte_look_up.look_up = look_up

if __name__ == "__main__":
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
