"""Each form of an integer operation alone: what it is defined to be, from NumPy alone and from the kernels."""
from fractions import Fraction

import numpy as np
import pytest
from one_product import CODES
from small_models import SHAPE, small

from tinyq.kernels.geometry.pooling_windows import adaptive_windows, sliding_windows
from tinyq.kernels.jit.isa import ISA
from tinyq.packed.float_network import FloatNetwork
from tinyq.packed.integer.lowering import lower
from tinyq.packed.integer.numpy_executor import NumpyExecutor
from tinyq.packed.integer.program import (
    Add,
    Clip,
    Float,
    IntegerProgram,
    MaxPool,
    Mean,
    Move,
    Quant,
    Quantise,
    Requant,
    Reshape,
)
from tinyq.streams import Streams

KINDS = tuple(CODES)
INSIDE = (5, 7, 6)                      # channels, rows, columns: no multiple of a vector


def codes_of(kind, count=2, shape=INSIDE):
    """Codes of the whole range, both ends among them."""
    dtype, quant = CODES[kind]
    x = Streams(8).key("codes").integers(quant.low, quant.high + 1, (count, *shape)).astype(dtype)
    x.reshape(-1)[:2] = quant.low, quant.high
    return x


def assert_gives(kind, operations, x, expected, out=None):
    """Both executors make `expected` of the codes x, batch by batch of any size."""
    dtype, quant = CODES[kind]
    start = Quantise(-1, -1, 1 / quant.scale, quant)
    program = IntegerProgram(kind, np.dtype(dtype), (start, *operations), {-1: x.shape[1:], 0: expected.shape[1:]},
                      {-1: quant, 0: out or quant}, 1, 1)
    floats = (x.astype(np.float32) - quant.zero) * np.float32(quant.scale)
    codes = NumpyExecutor(program, None).codes(floats)
    assert np.array_equal(codes[-1], x) and codes[0].dtype == dtype
    assert np.array_equal(codes[0], expected)
    if ISA is None:
        return
    from tinyq.packed.integer.compiled_executor import CompiledExecutor

    compiled = CompiledExecutor(program, None)
    for n in (len(x), 1, len(x)):
        found = compiled.run(floats[:n]).in_order(0)
        assert found.dtype == dtype and np.array_equal(found, expected[:n])


def requantised(totals, multiplier, offset, shift, quant):
    """Python's integers, half to even."""
    codes = [min(quant.high, max(quant.low, round(Fraction(int(t) * int(m) + int(o), 1 << shift))))
             for t, m, o in np.nditer([totals, multiplier, offset])]
    return np.array(codes).reshape(totals.shape)


@pytest.mark.parametrize("kind", KINDS)
def test_clip_limits_codes_at_both_ends(kind):
    x, quant = codes_of(kind), CODES[kind][1]
    for low, high in ((quant.zero, quant.high), (quant.low, quant.zero), (quant.low, quant.high)):
        assert_gives(kind, [Clip(-1, 0, low, high)], x, np.clip(x, low, high))


# Arguments of sliding_windows for planes of 7 x 6 elements.
MEANS = {
    "plain": ((2, 2), (2, 2), (0, 0)), "padded": ((3, 3), (2, 2), (1, 1)), "counted": ((3, 3), 1, 1, 1, False, True),
    "not counted": ((3, 2), (1, 2), (1, 1), 1, False, False), "ceil": ((3, 4), 2, 0, 1, True),
    "ceil, padded, counted": ((3, 3), (2, 3), 1, 1, True, True), "ceil, padded, not counted": (3, 2, 1, 1, True, False),
    "all": ((7, 6), 1, 0),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", [*MEANS.values(), (5, 4), (3, 1)], ids=[*MEANS, "adaptive", "adaptive, overlapping"])
def test_a_mean_is_the_requantised_sum_over_what_lies_inside(case, kind):
    x, quant = codes_of(kind), CODES[kind][1]
    windows = sliding_windows((7, 6), *case) if len(case) > 2 else adaptive_windows((7, 6), case)
    totals = np.zeros((2, 5, windows.outputs), np.int64)
    counts = np.zeros(windows.outputs, np.int64)
    for o, (oy, ox) in enumerate(np.ndindex(windows.output_size)):
        rows, columns = window((7, 6), case, (oy, ox), windows.output_size)
        part = x[:, :, rows][..., columns]
        totals[:, :, o], counts[o] = part.sum(axis=(2, 3), dtype=np.int64), part[0, 0].size
    multiplier = np.rint(2**20 / windows.divisors.astype(float)).astype(np.int32)
    offset = (quant.zero << 20) - multiplier.astype(np.int64) * quant.zero * counts
    requant = Requant(multiplier, offset, 20, quant.low, quant.high)
    expected = requantised(totals, multiplier, offset, 20, quant).reshape(2, 5, *windows.output_size)
    assert len(np.unique(expected)) > 5
    assert_gives(kind, [Mean(-1, 0, windows, requant)], x, expected)


def window(size, case, at, outputs):
    """(rows, columns) of a plane that output `at` reads, by PyTorch's definition."""
    if len(case) == 2:
        return [np.arange(o * n // m, -(-(o + 1) * n // m)) for o, n, m in zip(at, size, outputs, strict=True)]
    kernel, stride, padding = ((a, a) if isinstance(a, int) else a for a in case[:3])
    taps = [o * s - p + np.arange(k) for o, s, p, k in zip(at, stride, padding, kernel, strict=True)]
    return [t[(t >= 0) & (t < n)] for t, n in zip(taps, size, strict=True)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", [((3, 3), 2, 1), ((2, 3), 1, 1, 2, True), ((3, 2), (2, 1), 0, 1, True)])
def test_max_pooling_takes_the_largest_code_that_lies_inside(case, kind):
    x, windows = codes_of(kind), sliding_windows((7, 6), *case)
    dilation = case[3] if len(case) > 3 else 1
    expected = np.empty((2, 5, *windows.output_size), x.dtype)
    kernel, stride, padding = ((a, a) if isinstance(a, int) else a for a in case[:3])
    for at in np.ndindex(windows.output_size):
        taps = [o * s - p + dilation * np.arange(k) for o, s, p, k in zip(at, stride, padding, kernel, strict=True)]
        rows, columns = ([i for i in t if 0 <= i < n] for t, n in zip(taps, (7, 6), strict=True))
        expected[:, :, *at] = x[:, :, rows][..., columns].max(axis=(2, 3))
    assert_gives(kind, [MaxPool(-1, 0, windows)], x, expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("multiplier, added, left", [(3 << 18, 3 << 18, 0), (-5 << 17, 7, 18), (1 << 20, 0, 0)])
def test_a_value_added_to_itself(multiplier, added, left, kind):
    x, quant = codes_of(kind), CODES[kind][1]
    offset = (quant.zero << 20) - (multiplier + (added << left)) * quant.zero + (1 << 19)      # ties, too
    requant = Requant(np.array([multiplier], np.int32), np.array([offset]), 20, quant.low, quant.high, added, left)
    total = x.astype(np.int64)
    expected = requantised(total, np.array(multiplier + (added << left)), np.array(offset), 20, quant)
    assert_gives(kind, [Add(-1, 0, -1, requant)], x, expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", [
    (slice(0, 5, 2), slice(1, 7, 1), slice(0, 6, 3)), (slice(4, 5, 1), slice(0, 7, 6), slice(5, 6, 1)),
    (slice(0, 5, 1), slice(0, 7, 1), slice(1, 6, 2))])
def test_a_move_with_steps_takes_every_so_many_th(source, kind):
    x = codes_of(kind)
    expected = x[(slice(None), *source)]
    assert_gives(kind, [Move(-1, 0, source, tuple(map(slice, expected.shape[1:])), None)], x, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_moves_fill_what_they_leave_and_share_what_they_join(kind):
    x, zero = codes_of(kind), CODES[kind][1].zero
    whole = tuple(map(slice, INSIDE))
    padded = np.full((2, 5, 10, 7), zero, x.dtype)
    padded[:, :, 1:8, 1:] = x
    assert_gives(kind, [Move(-1, 0, whole, (slice(0, 5), slice(1, 8), slice(1, 7)), zero)], x, padded)
    joined = [Move(-1, 0, whole, (slice(at, at + 5), *whole[1:]), None) for at in (0, 5)]
    assert_gives(kind, joined, x, np.concatenate([x, x], axis=1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(210,), (42, 5), (6, 5, 7), (1, 1, 210)])
def test_reshaping_keeps_the_order_of_c(shape, kind):
    x = codes_of(kind)
    assert_gives(kind, [Reshape(-1, 0)], x, x.reshape(2, *shape))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_joined_along_another_axis_than_channels_is_joined_in_floats(kind):
    held = small("beside")
    program = lower(held, kind)
    number, = program.floats
    assert held.graph.nodes[number].operation == "concatenate"
    assert not any(isinstance(op, Move) for op in program.operations) and Float(number) in program.operations
    floats = FloatNetwork(held, program.floats)
    x = Streams(2).key("x").normal((3, *SHAPE)).astype(np.float32)
    y = NumpyExecutor(program, floats.node)(x)
    assert np.abs(y - FloatNetwork(held)(x)).max() <= 0.1 * np.abs(y).max()
    if ISA is not None:
        from tinyq.packed.integer.compiled_executor import CompiledExecutor

        assert np.array_equal(CompiledExecutor(program, floats.node)(x), y)


def test_codes_of_another_scale_are_no_concern_of_the_operations():
    """A mean from one scale to another, which saturates."""
    x, out = codes_of("int8"), Quant(0.25, 3, 0, 255)
    windows = sliding_windows((7, 6), (2, 2), (2, 2), (0, 0))
    totals = np.add.reduce([x[:, :, i:6 + i:2, j:6:2].astype(np.int64) for i in (0, 1) for j in (0, 1)])
    multiplier = np.full(windows.outputs, 1 << 19, np.int32)                       # twice the mean
    offset = np.full(windows.outputs, (3 << 20) - 4 * 3 * (1 << 19), np.int64)
    expected = requantised(totals.reshape(2, 5, -1), multiplier, offset, 20, out).reshape(2, 5, 3, 3)
    assert (expected == 255).any()
    assert_gives("int8", [Mean(-1, 0, windows, Requant(multiplier, offset, 20, 0, 255))], x, expected, out)
