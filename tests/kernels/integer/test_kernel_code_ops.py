"""The operations on codes against their references, bit for bit."""
import numpy as np
import pytest

from tinyq.kernels.geometry.pooling_windows import adaptive_windows, sliding_windows
from tinyq.kernels.integer import code_ops
from tinyq.kernels.jit.isa import ISA
from tinyq.kernels.reference.integer import code_ops as reference
from tinyq.streams import Streams

pytestmark = pytest.mark.skipif(ISA is None, reason="no integer kernels for this processor")
CODES = {"int8": (np.uint8, 0, 255, 3), "int16": (np.int16, -32767, 32767, 0)}       # dtype, low, high, zero
WINDOWS = {"2x2": ((8, 9), sliding_windows((8, 9), 2, 2, 0)), "padded": ((7, 7), sliding_windows((7, 7), 3, 2, 1)),
           "dilated": ((9, 11), sliding_windows((9, 11), 3, 1, 1, 2)),
           "adaptive": ((7, 5), adaptive_windows((7, 5), (3, 2))), "global": ((6, 6), adaptive_windows((6, 6), (1, 1)))}
CHANNELS = (1, 5, 64, 70)


def assert_same(name, y, *arguments):
    """The kernel and its reference leave the same in y, whatever stood there."""
    expected = np.empty_like(y)
    getattr(reference, name)(*arguments, expected)
    getattr(code_ops, name)(*arguments, y)
    assert np.array_equal(y, expected)


def codes(kind, *shape):
    dtype, low, high, _ = CODES[kind]
    return Streams(1).key("codes", *shape).integers(low, high + 1, shape).astype(dtype)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("windows", WINDOWS)
@pytest.mark.parametrize("kind", CODES)
def test_windows_of_codes(kind, windows, channels, threads):
    size, w = WINDOWS[windows]
    x = codes(kind, 3, size[0] * size[1], channels)
    _, low, high, _ = CODES[kind]
    where = w.origins, w.heights, w.widths, *w.step
    assert_same("max_pool", np.empty((3, w.outputs, channels), x.dtype), x, *where)
    draw = Streams(2).key("means", windows)
    multiplier, offset = draw.integers(-2**28, 2**28, w.outputs), draw.integers(-2**40, 2**40, w.outputs)
    assert_same("mean", np.empty((3, w.outputs, channels), x.dtype), x, *where, multiplier, offset, 31, low, high)


@pytest.mark.parametrize("size", [1, 37, 4096, 20000])
@pytest.mark.parametrize("kind", CODES)
def test_sums_of_two_values(kind, size, threads):
    x, added, (_, low, high, _) = codes(kind, size), codes(kind, size, 1).reshape(-1), CODES[kind]
    for multiplier, factor, left in ((2**29, 3 << 20, 9), (1 << 30, 1 << 30, 0), (-5, 1, 0)):
        assert_same("add", np.empty_like(x), x, added, multiplier, 12345, 31, low, high, factor, left)


@pytest.mark.parametrize("shape", [(1, 3, 1), (2, 5, 7), (3, 1, 5000), (2, 40, 300)])
@pytest.mark.parametrize("kind", CODES)
def test_floats_to_codes_and_back(kind, shape, threads):
    dtype, low, high, zero = CODES[kind]
    x = Streams(3).key("floats", *shape).normal(shape).astype(np.float32) * np.float32(high)
    x.reshape(-1)[:3] = np.nan, np.inf, 0.5
    n, channels, places = shape
    q = np.empty((n, places, channels), dtype)
    with np.errstate(invalid="ignore"):
        assert_same("quantise", q, x, np.float32(0.7), zero, low, high)
    assert_same("dequantise", np.empty(shape, np.float32), q, zero, np.float32(0.3))
