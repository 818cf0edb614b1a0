"""The integer kernels one by one, without a whole product around them: each compiled alone and compared with NumPy.

A way to run an instruction set's kernels in seconds: TINYQ_ISA=... python emulated_neon.py integer_parts.py
"""
import ctypes

import numpy as np
from llvmlite import binding, ir
from one_product import LEVELS

from tinyq.kernels.integer import coded_rows, dots, requantise
from tinyq.kernels.integer.integer_levels import even_levels, pack_levels
from tinyq.kernels.integer.tile_shape import LANES, MR, NR, SHORT_LEVEL_BYTES, VECTOR_BYTES, ZERO_CODE, ZERO_LOW_BYTE
from tinyq.kernels.jit.isa import MAX_SMALL, SHAPE
from tinyq.kernels.reference.integer.requantise import requantise as reference
from tinyq.streams import Streams

I64 = ir.IntType(64)
# the kernel -> the dtype of its codes
FINISHERS = {"finish_bytes": np.uint8, "finish_bytes_added": np.uint8, "finish_shorts": np.int16,
             "finish_shorts_added": np.int16, "finish_ints": np.int32}
KERNELS = {name: vars(module)[name] for module, names in (
    (dots, ("byte_tile", "small_tile", "short_tile", "byte_row", "short_row", "decode_2", "decode_4", "decode_8")),
    (coded_rows, ("coded_row_2", "coded_row_4", "even_row", "sum_of_row")),
    (requantise, FINISHERS)) for name in names}
SLACK = 8 * VECTOR_BYTES
LENGTHS = (1, 7, 27, 130, 515)
KINDS = (*LEVELS, "bytes")


class _NoResult:
    def get_dummy_value(self):
        return I64(0)


def functions():
    """name -> the kernel as a function of integers, and the compiler that must live as long."""
    module = ir.Module()
    module.triple = binding.get_process_triple()
    counts = {}
    for name, kernel in KERNELS.items():
        counts[name] = count = next(n for n in range(1, 13) if kernel._defn(None, *range(n)))
        signature, generate = kernel._defn(None, *range(count))
        function = ir.Function(module, ir.FunctionType(I64, [I64] * count), name)
        builder = ir.IRBuilder(function.append_basic_block())
        builder.ret(generate(_NoResult(), builder, signature, list(function.args)))
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    machine = binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(), features=binding.get_host_cpu_features().flatten(), opt=1)
    compiler = binding.create_mcjit_compiler(binding.parse_assembly(str(module)), machine)
    compiler.finalize_object()
    return {name: ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * count)(compiler.get_function_address(name))
            for name, count in counts.items()}, compiler


def drawn(kind, outputs, k):
    """Levels (outputs, k) int8, with both ends of what a byte level may be."""
    stream = Streams(7).key(kind, k)
    if kind == "bytes":
        levels = stream.integers(-127, 128, (outputs, k)).astype(np.int8)
        levels[0], levels[-1] = 127, -127
        return levels
    return np.array(LEVELS[kind], np.int8)[stream.integers(0, len(LEVELS[kind]), (outputs, k))]


def codes_of(size, rows, k, steps):
    """Codes (rows, k) with extremes, and the same in rows of whole steps with other codes behind them."""
    low, high, dtype = (0, 255, np.uint8) if size == 1 else (-32767, 32767, np.int16)
    codes = Streams(8).key("codes", size, rows, k).integers(low, high + 1, (rows, k)).astype(dtype)
    codes[:, ::3] = low
    codes[-1] = high
    whole = np.full((rows, steps * 4 // size + SLACK), high, dtype)
    whole[:, :k] = codes
    return codes.astype(np.int64), whole


def sums_of(call, codes, packed, bits, table, steps, size, tile, resume):
    """Sums (rows, NR) int32 of a panel."""
    levels, panel = np.zeros(NR * steps * 8 + SLACK, np.int8), np.ascontiguousarray(packed)
    call[f"decode_{bits}"](panel.ctypes.data, panel.size // VECTOR_BYTES, table.ctypes.data, levels.ctypes.data,
                           (size - 1) * (SHORT_LEVEL_BYTES - 1))
    sums = np.full((MR, NR), 5, np.int32)
    call[tile](steps, len(codes), codes.ctypes.data, codes.strides[0], levels.ctypes.data, sums.ctypes.data, resume)
    return sums[:len(codes)] - 5 * resume


def check_tiles(call, kind, size, k):
    """Every tile that may multiply these levels."""
    levels = drawn(kind, NR + 3, k)
    packed, table, bits, steps, halves = pack_levels(levels, 1, size)
    assert halves == 1, "not for instruction sets that split levels"
    tiles = {1: ["byte_tile", "byte_row"], 2: ["short_tile", "short_row"]}[size]
    if size == 1 and np.abs(levels.astype(int)).max() <= MAX_SMALL:
        tiles.append("small_tile")
    codes, whole = codes_of(size, MR, k, steps)
    zero = ZERO_CODE if size == 1 else ZERO_LOW_BYTE
    expected = (codes - zero) @ np.pad(levels, ((0, NR - 3), (0, 0))).T.astype(np.int64)
    for tile in tiles:
        for resume in (0, 1):
            for panel in range(2):
                found = sums_of(call, whole, packed[0, panel], bits, table, steps, size, tile, resume)
                wanted = expected[:, panel * NR:(panel + 1) * NR].astype(np.int32)      # int16's may wrap around
                assert np.array_equal(found, wanted), (tile, kind, k, resume, panel)


def check_coded_rows(call, kind, k):
    """One row times levels in codes, by look-up and, where the levels lie evenly, without."""
    levels = drawn(kind, NR, k)
    packed, table, bits, steps, _ = pack_levels(levels, 1, 1)
    if bits == 8:
        return
    codes, _ = codes_of(1, 2, k, steps)
    vectors, panel, sums = packed.shape[2] // VECTOR_BYTES, packed[0, 0], np.zeros(NR, np.int32)
    for row in codes:
        whole = np.full(packed.shape[2] * 4 + SLACK, ZERO_CODE, np.uint8)
        whole[:k] = row
        expected = levels.astype(np.int64) @ (row - ZERO_CODE)
        call[f"coded_row_{bits}"](vectors, panel.ctypes.data, table.ctypes.data, whole.ctypes.data, sums.ctypes.data)
        assert np.array_equal(sums, expected), (kind, k)
        total = call["sum_of_row"](k, whole.ctypes.data)
        assert total == (row - ZERO_CODE).sum()
        least, step = even_levels(table, bits, steps)
        if step:
            call["even_row"](vectors, panel.ctypes.data, step, least * total, whole.ctypes.data, sums.ctypes.data)
            assert np.array_equal(sums, expected), (kind, k, "even")


def check_finish(call, name, shift):
    """Requantised sums, ties, results at the limits and far beyond them among them."""
    stream, dtype, rows = Streams(9).key(name, shift), np.dtype(FINISHERS[name]), 5
    limits = {1: (0, 255), 2: (-32767, 32767), 4: (-2**31, 2**31 - 1)}[dtype.itemsize]
    sums = stream.integers(-2**31, 2**31, (rows, NR)).astype(np.int32)
    sums[0] = np.arange(NR) - NR // 2
    multiplier = stream.integers(-2**29, 2**29, LANES).astype(np.int32)
    multiplier[0] = 1 << min(shift - 1, 29)                 # halves
    offset = stream.integers(-2**45, 2**45, LANES)
    offset[0] = 0
    added = stream.integers(*limits, (rows, LANES)).astype(dtype) if "added" in name else None
    by, left = (2**20 + 1, 9) if added is not None else (0, 0)
    codes = np.zeros((rows, LANES), dtype)
    call[name](rows, sums.ctypes.data, multiplier.ctypes.data, offset.ctypes.data, shift, *limits,
               added.ctypes.data if added is not None else 0, by, left, codes.ctypes.data, codes.strides[0])
    expected = reference(sums[:, :LANES].astype(np.int64), multiplier, offset, shift, *limits, added, by, left)
    assert np.array_equal(codes, expected), (name, shift)


def main():
    call, compiler = functions()
    for kind in KINDS:
        for k in LENGTHS:
            check_tiles(call, kind, 1, k)
            check_tiles(call, kind, 2, k)
            check_coded_rows(call, kind, k)
    for name in FINISHERS:
        for shift in (1, 2, 30, 33, 60):
            check_finish(call, name, shift)
    print(SHAPE.name)
    return compiler


if __name__ == "__main__":
    main()
