"""One program, every executor: the same integers from NumPy alone and from each instruction set's kernels."""
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from packed_networks import SHAPES, packed, samples

from tinyq import kernels
from tinyq.kernels import dots
from tinyq.kernels.geometry import conv_geometry
from tinyq.kernels.isa import ISA, ISAS, available
from tinyq.packed import format
from tinyq.packed.fast import FastNetwork
from tinyq.packed.floats import FloatNetwork
from tinyq.packed.lower import lower
from tinyq.packed.network import PackedNetwork
from tinyq.packed.plain import PlainNetwork
from tinyq.packed.program import Product, Program, Quant, Quantise, Requant
from tinyq.packed.tensor import BYTES, Tensor, from_levels
from tinyq.streams import Streams

SCRIPT = Path(__file__).with_name("integer_hash.py")
needs_kernels = pytest.mark.skipif(ISA is None, reason="no integer kernels for this processor")
CODES = {"int8": (np.uint8, Quant(0.5, 3, 0, 255)), "int16": (np.int16, Quant(0.5, 0, -32767, 32767))}

# x, w, stride, padding, dilation, groups
GEOMETRIES = {
    "3x3": ((2, 5, 9, 8), (7, 5, 3, 3), 1, 1, 1, 1),
    "one channel, wide window": ((1, 1, 28, 28), (6, 1, 5, 5), 1, 2, 1, 1),
    "1x1": ((3, 70, 4, 5), (33, 70, 1, 1), 1, 0, 1, 1),
    "1x1, stride 2": ((1, 16, 7, 7), (40, 16, 1, 1), 2, 0, 1, 1),
    "stem": ((1, 3, 37, 35), (64, 3, 7, 7), 2, 3, 1, 1),
    "groups": ((2, 12, 6, 6), (10, 6, 3, 3), 1, 1, 1, 2),
    "one channel a group": ((1, 8, 6, 5), (8, 1, 3, 3), 1, 1, 1, 8),
    "dilated": ((1, 4, 11, 12), (5, 4, 3, 2), (1, 2), (2, 0), (2, 3), 1),
    "window beyond the image": ((1, 2, 2, 2), (3, 2, 5, 5), 1, 3, 1, 1),
    "many outputs": ((1, 32, 7, 7), (100, 32, 3, 3), 1, 1, 1, 1),
}


@pytest.fixture(params=[1, 2])
def threads(request):
    kernels.set_threads(request.param)
    yield
    kernels.set_threads(2)


def tensor(shape, kind, seed):
    """Weights of ternary levels, levels of four bits, or bytes of -127 to 127."""
    draw = Streams(seed).key("weights", *shape).integers
    affine = np.zeros((2, shape[0]), np.float32)
    if kind == "bytes":
        data = draw(-127, 128, (shape[0], int(np.prod(shape[1:])))).astype(np.int8)
        data[0] = -127
        return Tensor(BYTES, shape, data, None, np.ones(1, np.float32), affine)
    levels = np.array({"ternary": (-1, 0, 1), "binary": (-1, 1), "shift2": (-4, -2, -1, 0, 1, 2, 4)}[kind], np.float32)
    return from_levels(levels[draw(0, len(levels), shape)], levels, np.ones(1, np.float32), affine)


def requant(rows, quant, seed, added):
    """Multipliers and offsets that use the whole range of codes, and saturate some."""
    draw = Streams(seed).key("requant", rows)
    multiplier = draw.integers(-2**28, 2**28, rows).astype(np.int32)
    by = (3 << 20, 9) if added else (0, 0)
    return Requant(multiplier, draw.integers(-2**40, 2**40, rows), 33, quant.low, quant.high, *by)


def one_product(kind, shape, weights, geometry, added, wide):
    """The program of a product of the input's codes, its output followed by nothing."""
    dtype, quant = CODES[kind]
    rows = weights.rows
    out = (rows, *geometry.output_size) if geometry else (rows,)
    added = -1 if added and out == shape[1:] else None
    op = Product(-1, 0, added, weights, 1.0, geometry, quant.zero, requant(rows, quant, 5, added is not None))
    result = 0 if wide else 1
    return Program(kind, np.dtype(dtype), (Quantise(-1, -1, 2.0, quant), op), {-1: shape[1:], 0: out},
                   {-1: quant, 0: quant}, result), op


def assert_same_codes(program, op, x):
    """What FastNetwork leaves in the product's buffer is what PlainNetwork computes; on NaN-like memory, twice."""
    plain = PlainNetwork(program, None)
    codes = {}
    plain._quantise(program.operations[0], codes, {-1: x})
    plain._product(op, codes, {})
    fast = FastNetwork(program, None)
    for _ in range(2):
        fast.run(x)
        found = fast.codes(op.y)
        assert found.dtype == codes[0].dtype and np.array_equal(found, codes[0])


@needs_kernels
@pytest.mark.parametrize("weights", ["binary", "ternary", "shift2", "bytes"])
@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("case", GEOMETRIES.values(), ids=GEOMETRIES)
def test_a_convolution_s_codes_are_numpy_s(case, kind, weights, threads):
    geometry, x = conv_geometry(*case), 60 * samples(case[0][0], case[0][1:])
    for wide in (False, True):
        program, op = one_product(kind, case[0], tensor(case[1], weights, 2), geometry, not wide, wide)
        assert_same_codes(program, op, x)


@needs_kernels
@pytest.mark.parametrize("weights", ["binary", "ternary", "shift2", "bytes"])
@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("n, k, m", [(1, 5, 3), (1, 9216, 70), (2, 130, 40), (3, 64, 64), (4, 33, 31), (17, 100, 129)])
def test_a_linear_layer_s_codes_are_numpy_s(n, k, m, kind, weights, threads):
    program, op = one_product(kind, (n, k), tensor((m, k), weights, 3), None, True, False)
    assert_same_codes(program, op, 60 * samples(n, (k,)))


@needs_kernels
@pytest.mark.parametrize("kind, code", [("int8", 255), ("int8", 0), ("int16", 32767), ("int16", -32767)])
@pytest.mark.parametrize("weight", [1, -1, 127, -127])
def test_the_largest_sums_are_exact(kind, code, weight):
    """K = 9216 with every activation and weight at its extreme, as far as int32 allows."""
    dtype, quant = CODES[kind]
    k = min(9216, (2**31 - 1) // (abs(weight) * max(1, abs(code))))
    weights = Tensor(BYTES, (40, k), np.full((40, k), weight, np.int8), None, np.ones(1, np.float32),
                     np.zeros((2, 40), np.float32))
    one = Requant(np.full(40, 2, np.int32), np.zeros(40, np.int64), 1, -2**31, 2**31 - 1)
    op = Product(-1, 0, None, weights, 1.0, None, quant.zero, one)
    program = Program(kind, np.dtype(dtype), (Quantise(-1, -1, 1.0, quant), op), {-1: (k,), 0: (40,)},
                      {-1: quant, 0: quant}, 0)
    fast = FastNetwork(program, None)
    for n in (1, 15):
        fast.run(np.full((n, k), code - quant.zero, np.float32))
        assert (fast.codes(0) == weight * code * k).all()


@needs_kernels
@pytest.mark.parametrize("edge_bits", [8, 32])
@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("name", [name for name in SHAPES if name != "alexnet"])      # most of its time is NumPy's
def test_a_network_s_logits_are_numpy_s(name, kind, edge_bits):
    network = packed(name, "shift2", edge_bits)
    floats, program = FloatNetwork(network), lower(network, kind)
    plain, fast = PlainNetwork(program, floats.node), FastNetwork(program, floats.node)
    for n in (1, 3):
        x = samples(n, SHAPES[name], seed=n)
        expected = plain(x)
        assert np.array_equal(fast(x), expected) and np.array_equal(fast(x), expected)
        assert np.abs(expected - floats(x)).max() <= (0.5 if kind == "int8" else 2e-3) * np.abs(floats(x)).max()


@needs_kernels
def test_rows_read_in_place_end_where_the_arena_ends():
    """Of a last tile with few rows a whole tile is read: behind the last value as much room as that takes."""
    weights = tensor((10, 20000), "bytes", 4)
    for kind in CODES:
        program, op = one_product(kind, (5, 20000), weights, None, False, False)
        fast = FastNetwork(program, None)
        run = fast.run(np.zeros((5, 20000), np.float32))
        begin = run.codes[-1].ctypes.data - run.arena.ctypes.data
        assert begin + dots.ROWS * 20000 * program.dtype.itemsize <= run.arena.size


@needs_kernels
def test_calls_from_several_threads_do_not_mix():
    network = PackedNetwork(packed("lenet"), "int8")
    batches = [samples(8, SHAPES["lenet"], seed=i) for i in range(2)]
    expected = [network(x).copy() for x in batches]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(network, batches * 20))
    assert all(np.array_equal(y, expected[i % 2]) for i, y in enumerate(found))


def test_an_empty_batch_gives_no_logits():
    for kind in format.KINDS:
        assert PackedNetwork(packed("lenet"), kind)(np.empty((0, 1, 28, 28), np.float32)).shape == (0, 10)


@pytest.fixture(scope="module")
def hash_of(tmp_path_factory):
    """hash_of(isa): of some networks' logits, by 1 thread and by 2, which the script compares."""
    folder = tmp_path_factory.mktemp("networks")
    sets = {"lenet": "ternary", "resnet20": "shift2", "mlp:20,8": "shift1", "digits_cnn": "binary"}
    for name, levels in sets.items():
        format.write(folder / f"{name.partition(':')[0]}.tq.h5", packed(name, levels))

    @cache
    def of(isa):
        env = {**os.environ, **({} if isa == available()[0] else {"TINYQ_ISA": isa})}
        result = subprocess.run([sys.executable, SCRIPT, folder], env=env, capture_output=True, text=True, timeout=600)
        assert result.returncode == 0, result.stderr
        executor, digest = result.stdout.split()
        assert executor == isa
        return digest

    return of


# The best and the narrowest in every run, the others in the long one.
@pytest.mark.parametrize("isa", [pytest.param(isa.name, marks=() if isa in (ISA, ISAS[-1]) else pytest.mark.slow)
                                 for isa in ISAS])
def test_every_instruction_set_gives_numpy_s_bits(isa, hash_of):
    if isa not in available():
        pytest.skip(f"no {isa} here")
    assert hash_of(isa) == hash_of("plain")
