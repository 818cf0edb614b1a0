"""Float weights that stay packed: runs of float32 of at most 8 values as codes of 2 or 4 bits, decoded where used.

A vector of 32-bit words holds the codes of 32 / bits vectors of floats: word l has those of lane l, the first vector's
in its lowest bits. So a vector of floats is one shift and one table look-up by lane.
"""
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from tinyq.kernels.contract import PRODUCT_BLOCK
from tinyq.kernels.jit.outlined import outlined
from tinyq.kernels.jit.target import target_features
from tinyq.kernels.simd.vectors import (
    COLUMNS,
    I32,
    I64,
    INTEGERS,
    LANES,
    SINGLES,
    VECTORS,
    ZEROS,
    broadcast,
    element,
    load_vector,
    pointer,
    store_vector,
)

_LOOK_UPS = {16: ("avx512f", "llvm.x86.avx512.permvar.sf.512"), 8: ("avx2", "llvm.x86.avx2.permps")}
MAX_LEVELS = 8                         # what a table of the narrowest vector holds
PANELS_AT_ONCE = 4                      # by coded_row: so many chains of additions that none waits for the one before


def can_decode() -> bool:
    """Whether the target looks lanes up; where it does not, weights are kept as floats."""
    return LANES in _LOOK_UPS and _LOOK_UPS[LANES][0] in target_features()


def bits_for(levels: int) -> int:
    """Bits of a code."""
    return 2 if levels <= 4 else 4


def run_bytes(count: int, bits: int) -> int:
    """Of a run of `count` floats in codes, in whole vectors of words."""
    return -(-count * bits // (32 * LANES)) * 4 * LANES


def encode(runs, levels):
    """(codes uint8 (runs, run_bytes), table float32 (LANES,)) of runs (runs, count) float32 of these levels."""
    bits, (rows, count) = bits_for(len(levels)), runs.shape
    many = 32 // bits
    codes = np.zeros((rows, run_bytes(count, bits) // (4 * LANES) * many * LANES), np.uint32)
    codes[:, :count] = np.searchsorted(levels, runs)
    codes = codes.reshape(rows, -1, many, LANES)
    words = np.zeros((rows, codes.shape[1], LANES), np.uint32)
    for j in range(many):
        words |= codes[:, :, j] << np.uint32(j * bits)
    # The look-up takes all the bits of an index that its table needs, those of the next codes too: levels repeat.
    period = 1 << bits if 1 << bits <= LANES else LANES
    table = np.zeros(LANES, np.float32)
    table.reshape(-1, period)[:, :len(levels)] = levels[:period]
    return words.view(np.uint8).reshape(rows, -1), table


def _vector(builder, words, j, bits, table):
    """Vector j of floats of those whose codes are in `words`."""
    if not can_decode():
        return table                                        # something to compile, which nobody calls
    if j:
        words = builder.lshr(words, ir.Constant(INTEGERS, [j * bits] * LANES))
    look_up = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(SINGLES, [SINGLES, INTEGERS]), _LOOK_UPS[LANES][1])
    return builder.call(look_up, [table, words])


def _make_decode(bits):
    @intrinsic
    def decode_floats(typingctx, codes, count, table, target):
        """The first `count` floats of a run, and up to what whole vectors of words hold behind them, by address."""
        def codegen(context, builder, sig, args):
            codes, count, table, target = args
            codes, table, target = pointer(builder, codes, I32), pointer(builder, table), pointer(builder, target)
            levels, many = load_vector(builder, table), 32 // bits
            with cgutils.for_range_slice(builder, I64(0), count, I64(many * LANES)) as (at, _):
                words = load_vector(builder, codes, builder.udiv(at, I64(many)), INTEGERS)
                for j in range(many):
                    store_vector(builder, _vector(builder, words, j, bits, levels), target,
                                 builder.add(at, I64(j * LANES)))
            return context.get_dummy_value()

        return types.void(types.uintp, types.int64, types.uintp, types.uintp), codegen

    return decode_floats


decode_floats_2, decode_floats_4 = _make_decode(2), _make_decode(4)


def _make_coded_row(bits):
    @intrinsic
    def coded_float_row(typingctx, k, x, codes, panel_bytes, table, totals):
        """Add one row x (k,) times PANELS_AT_ONCE panels in codes, `panel_bytes` apart, to totals (panels, COLUMNS).

        In the contract's order: blocks of PRODUCT_BLOCK from +0, each added to the total. By address.
        """
        def codegen(context, builder, sig, args):
            name = f"coded_float_row_{bits}"
            builder.call(outlined(builder.module, name, 6, lambda b, *args: _emit_coded_row(b, bits, *args)), args)
            return context.get_dummy_value()

        return types.void(types.int64, types.uintp, types.uintp, types.int64, types.uintp, types.uintp), codegen

    return coded_float_row


def _emit_coded_row(builder, bits, k, x, codes, panel_bytes, table, totals):
    x, table, totals = (pointer(builder, p) for p in (x, table, totals))
    starts = [builder.add(codes, builder.mul(panel_bytes, I64(p))) for p in range(PANELS_AT_ONCE)]
    panels = [pointer(builder, start, I32) for start in starts]
    levels, cells = load_vector(builder, table), [(p, v) for p in range(PANELS_AT_ONCE) for v in range(VECTORS)]
    sums = {cell: cgutils.alloca_once(builder, SINGLES) for cell in cells}
    each = 32 // bits // VECTORS                            # values of k in a vector of words
    fma = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(SINGLES, [SINGLES] * 3), f"llvm.fma.v{LANES}f32")

    def add(at, steps):
        words = [load_vector(builder, panel, builder.mul(builder.udiv(at, I64(each)), I64(LANES)), INTEGERS)
                 for panel in panels]
        for step in range(steps):
            value = broadcast(builder, builder.load(element(builder, x, builder.add(at, I64(step)))))
            for p, v in cells:
                w = _vector(builder, words[p], step * VECTORS + v, bits, levels)
                builder.store(builder.call(fma, [value, w, builder.load(sums[p, v])]), sums[p, v])

    with cgutils.for_range_slice(builder, I64(0), k, I64(PRODUCT_BLOCK)) as (start, _):
        left = builder.sub(k, start)
        whole = builder.icmp_signed("<", left, I64(PRODUCT_BLOCK))
        end = builder.add(start, builder.select(whole, left, I64(PRODUCT_BLOCK)))
        for cell in cells:
            builder.store(ZEROS, sums[cell])
        even = builder.sub(end, builder.urem(builder.sub(end, start), I64(each)))
        with cgutils.for_range_slice(builder, start, even, I64(each)) as (at, _):
            add(at, each)
        for step in range(each - 1):                        # what is left of the last vector of words
            with builder.if_then(builder.icmp_signed(">", builder.sub(end, even), I64(step))):
                _add_one(builder, fma, x, panels, levels, sums, even, step, bits)
        for p, v in cells:
            at = I64(p * COLUMNS + v * LANES)
            store_vector(builder, builder.fadd(load_vector(builder, totals, at), builder.load(sums[p, v])), totals, at)


def _add_one(builder, fma, x, panels, levels, sums, even, step, bits):
    """Step `step` behind k = even."""
    each = 32 // bits // VECTORS
    value = broadcast(builder, builder.load(element(builder, x, builder.add(even, I64(step)))))
    for (p, v), slot in sums.items():
        words = load_vector(builder, panels[p], builder.mul(builder.udiv(even, I64(each)), I64(LANES)), INTEGERS)
        w = _vector(builder, words, step * VECTORS + v, bits, levels)
        builder.store(builder.call(fma, [value, w, builder.load(slot)]), slot)


coded_float_row_2, coded_float_row_4 = _make_coded_row(2), _make_coded_row(4)
