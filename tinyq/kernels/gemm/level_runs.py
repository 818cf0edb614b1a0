"""Keep float weights packed: runs of float32 with at most 8 different values, as codes of 2 or 4 bits, decoded at use.

A vector of words holds the codes of 32 / bits vectors of floats, the first floats' codes in the lowest bits of each
word. x86 looks up floats: word l has 32 bits, for lane l, and one shift and one look-up per lane decode a vector of
floats. NEON looks up bytes: a word is a byte, and four look-ups, one for each byte of a float, decode 16 floats.
"""
from collections.abc import Sequence

import numpy as np
from numba.core import cgutils
from numba.types import int64, uintp, void

from tinyq.kernels.contract import KC
from tinyq.kernels.jit.intrinsics import emits
from tinyq.kernels.jit.target import target_features
from tinyq.kernels.simd import byte_look_up
from tinyq.kernels.simd.llvm import I32, I64, START, broadcast, call, element, fma, load, pointer, splat, store
from tinyq.kernels.simd.vectors import INTEGERS, LANES, NEON, NR, SINGLES, VECTORS, ZEROS

_LOOK_UPS = {16: ("avx512f", "llvm.x86.avx512.permvar.sf.512"), 8: ("avx2", "llvm.x86.avx2.permps")}
_WORD = np.dtype(np.uint8 if NEON else np.uint32)
_WORDS = 4 * LANES // _WORD.itemsize    # of a vector
MAX_LEVELS = 8                         # as many as a table of x86's narrowest vector holds
PANELS_AT_ONCE = 4                      # of coded_float_row: enough chains of additions that none waits


def can_decode() -> bool:
    """Return True if the target can look up lanes in a table; otherwise weights are stored as floats."""
    return NEON or LANES in _LOOK_UPS and _LOOK_UPS[LANES][0] in target_features()


def bits_for(levels: int) -> int:
    """Return the bits per code."""
    return 2 if levels <= 4 else 4


def run_bytes(count: int, bits: int) -> int:
    """Return the bytes of a run of `count` floats as codes, in whole vectors of words."""
    return -(-count * bits // (32 * LANES)) * 4 * LANES


def encode(runs: np.ndarray, levels: Sequence[float] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Encode runs (runs, count) float32 of these ascending levels.

    Return codes uint8 (runs, run_bytes) and the table float32 that decodes them.
    """
    bits, (rows, count) = bits_for(len(levels)), runs.shape
    many = 8 * _WORD.itemsize // bits
    codes = np.zeros((rows, run_bytes(count, bits) // (4 * LANES) * many * _WORDS), _WORD)
    codes[:, :count] = np.searchsorted(levels, runs)
    codes = codes.reshape(rows, -1, many, _WORDS)
    words = np.zeros((rows, codes.shape[1], _WORDS), _WORD)
    for j in range(many):
        words |= codes[:, :, j] << _WORD.type(j * bits)
    table = byte_look_up.table_of(levels) if NEON else _table_of_lanes(levels, bits)
    return words.view(np.uint8).reshape(rows, -1), table


def _table_of_lanes(levels, bits):
    """One vector. The look-up also uses index bits that belong to the next code, so the levels are repeated."""
    period = 1 << bits if 1 << bits <= LANES else LANES
    table = np.zeros(LANES, np.float32)
    table.reshape(-1, period)[:, :len(levels)] = levels[:period]
    return table


def _load_table(builder, table):
    return byte_look_up.load_table(builder, table) if NEON else load(builder, table, START, SINGLES)


def _decoded(builder, words, j, bits, table):
    """Return the j-th vector of floats of those whose codes are in `words`."""
    if NEON:
        return byte_look_up.decoded(builder, words, j, bits, table)
    if not can_decode():
        return table                                        # never called, but must compile
    if j:
        words = builder.lshr(words, splat(INTEGERS, j * bits))
    return call(builder, _LOOK_UPS[LANES][1], SINGLES, table, words)


def _make_decode(bits):
    @emits(void(uintp, int64, uintp, uintp))
    def decode_floats(builder, codes, count, table, target):
        """Decode the first `count` floats of a run, by address; the rest of its last vector of words is written too."""
        codes, table, target = pointer(builder, codes, I32), pointer(builder, table), pointer(builder, target)
        levels, many = _load_table(builder, table), 32 // bits
        with cgutils.for_range_slice(builder, I64(0), count, I64(many * LANES)) as (at, _):
            words = load(builder, codes, builder.udiv(at, I64(many)), INTEGERS)
            for j in range(many):
                floats = _decoded(builder, words, j, bits, levels)
                store(builder, floats, target, builder.add(at, I64(j * LANES)))

    return decode_floats


decode_floats_2, decode_floats_4 = _make_decode(2), _make_decode(4)


def _make_coded_row(bits):
    @emits(void(int64, uintp, uintp, int64, uintp, uintp), outlined_as=f"coded_float_row_{bits}")
    def coded_float_row(builder, k, x, codes, panel_bytes, table, totals):
        """Add one row x (k,) times PANELS_AT_ONCE panels in codes, `panel_bytes` apart, to totals (panels, NR).

        In the contract's order: blocks of KC from +0, each added to the total. By address.
        """
        _emit_coded_row(builder, bits, k, x, codes, panel_bytes, table, totals)

    return coded_float_row


def _emit_coded_row(builder, bits, k, x, codes, panel_bytes, table, totals):
    x, table, totals = (pointer(builder, p) for p in (x, table, totals))
    starts = [builder.add(codes, builder.mul(panel_bytes, I64(p))) for p in range(PANELS_AT_ONCE)]
    panels = [pointer(builder, start, I32) for start in starts]
    levels = _load_table(builder, table)
    cells = [(p, v) for p in range(PANELS_AT_ONCE) for v in range(VECTORS)]
    sums = {cell: cgutils.alloca_once(builder, SINGLES) for cell in cells}
    each = 32 // bits // VECTORS                            # values of k in a vector of words

    def add(at, steps):
        index = builder.mul(builder.udiv(at, I64(each)), I64(LANES))
        words = [load(builder, panel, index, INTEGERS) for panel in panels]
        for step in range(steps):
            value = _broadcast_element(builder, x, builder.add(at, I64(step)))
            for p, v in cells:
                w = _decoded(builder, words[p], step * VECTORS + v, bits, levels)
                builder.store(fma(builder, value, w, builder.load(sums[p, v])), sums[p, v])

    with cgutils.for_range_slice(builder, I64(0), k, I64(KC)) as (start, _):
        left = builder.sub(k, start)
        whole = builder.icmp_signed("<", left, I64(KC))
        end = builder.add(start, builder.select(whole, left, I64(KC)))
        for cell in cells:
            builder.store(ZEROS, sums[cell])
        even = builder.sub(end, builder.urem(builder.sub(end, start), I64(each)))
        with cgutils.for_range_slice(builder, start, even, I64(each)) as (at, _):
            add(at, each)
        for step in range(each - 1):                        # what is left of the last vector of words
            with builder.if_then(builder.icmp_signed(">", builder.sub(end, even), I64(step))):
                _emit_last_step(builder, x, panels, levels, sums, even, step, bits)
        for p, v in cells:
            at = I64(p * NR + v * LANES)
            total = builder.fadd(load(builder, totals, at, SINGLES), builder.load(sums[p, v]))
            store(builder, total, totals, at)


def _emit_last_step(builder, x, panels, levels, sums, even, step, bits):
    """Add step `step` after k = even."""
    each = 32 // bits // VECTORS
    value = _broadcast_element(builder, x, builder.add(even, I64(step)))
    for (p, v), slot in sums.items():
        words = load(builder, panels[p], builder.mul(builder.udiv(even, I64(each)), I64(LANES)), INTEGERS)
        w = _decoded(builder, words, step * VECTORS + v, bits, levels)
        builder.store(fma(builder, value, w, builder.load(slot)), slot)


def _broadcast_element(builder, x, index):
    return broadcast(builder, builder.load(element(builder, x, index)), SINGLES)


coded_float_row_2, coded_float_row_4 = _make_coded_row(2), _make_coded_row(4)
