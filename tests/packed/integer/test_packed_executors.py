"""One program, every executor: the same integers from NumPy alone and from each instruction set's kernels."""
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from one_product import CODES, GEOMETRIES, LINEAR, WEIGHTS, one_product, tensor
from packed_networks import SHAPES, packed, samples

from tinyq.kernels.geometry.conv_geometry import conv_geometry
from tinyq.kernels.integer import tile_shape
from tinyq.kernels.integer.coded_rows import LONGEST_EVEN_ROW
from tinyq.kernels.jit.isa import ISA, ISAS, NARROWEST, available
from tinyq.packed.file import format
from tinyq.packed.file.tensor import BYTES, EncodedTensor
from tinyq.packed.float_network import FloatNetwork
from tinyq.packed.integer.compiled_executor import CompiledExecutor
from tinyq.packed.integer.lowering import lower
from tinyq.packed.integer.numpy_executor import NumpyExecutor
from tinyq.packed.integer.program import IntegerProduct, IntegerProgram, Quantise, Requant
from tinyq.packed.network import PackedNetwork

SCRIPT = Path(__file__).with_name("integer_hash.py")
needs_kernels = pytest.mark.skipif(ISA is None, reason="no integer kernels for this processor")


def assert_same_codes(program, op, x):
    """What CompiledExecutor leaves in the product's buffer is what NumpyExecutor computes, in used buffers too."""
    expected = NumpyExecutor(program, None).codes(x, program.operations[:2])[0]
    compiled = CompiledExecutor(program, None)
    for _ in range(2):
        found = compiled.run(x).in_order(op.y)
        assert found.dtype == expected.dtype and np.array_equal(found, expected)


@needs_kernels
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("case", GEOMETRIES.values(), ids=GEOMETRIES)
def test_a_convolution_s_codes_are_numpy_s(case, kind, weights, threads):
    geometry, x = conv_geometry(*case), 60 * samples(case[0][0], case[0][1:])
    for wide in (False, True):
        program, op = one_product(kind, case[0], tensor(case[1], weights, 2), geometry, not wide, wide)
        assert_same_codes(program, op, x)


@needs_kernels
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("n, k, m", LINEAR)
def test_a_linear_layer_s_codes_are_numpy_s(n, k, m, kind, weights, threads):
    program, op = one_product(kind, (n, k), tensor((m, k), weights, 3), None, True, False)
    assert_same_codes(program, op, 60 * samples(n, (k,)))


@needs_kernels
@pytest.mark.parametrize("kind, code", [("int8", 255), ("int16", 32767), ("int16", -32767)])
@pytest.mark.parametrize("weight", [1, -1, 127, -127])
def test_the_largest_sums_are_exact(kind, code, weight):
    """K = 9216 with every activation and weight at its extreme, as far as int32 allows."""
    dtype, quant = CODES[kind]
    k = min(9216, (2**31 - 1) // (abs(weight) * abs(code)))
    weights = EncodedTensor(BYTES, (40, k), np.full((40, k), weight, np.int8), None, np.ones(1, np.float32),
                     np.zeros((2, 40), np.float32))
    one = Requant(np.full(40, 2, np.int32), np.zeros(40, np.int64), 1, -2**31, 2**31 - 1)
    op = IntegerProduct(-1, 0, None, weights, 1.0, None, quant.zero, one)
    program = IntegerProgram(kind, np.dtype(dtype), (Quantise(-1, -1, 1.0, quant), op), {-1: (k,), 0: (40,)},
                      {-1: quant, 0: quant}, 0, 0)
    compiled = CompiledExecutor(program, None)
    for n in (1, 15):
        run = compiled.run(np.full((n, k), code - quant.zero, np.float32))
        assert (run.in_order(0) == weight * code * k).all()


@needs_kernels
@pytest.mark.parametrize("levels, k", [
    ((-1, 0, 2), 300), ((-3, -1), 33), ((5,), 64), ((-1, 1), 7), ((0, 1, 2, 3), 1000),
    ((-1, 0, 1, 2), LONGEST_EVEN_ROW // 4 * 4), ((-1, 0, 1, 2), LONGEST_EVEN_ROW + 9)])
def test_single_rows_of_levels_that_lie_evenly_or_not(levels, k):
    draw = np.random.Generator(np.random.Philox(k)).choice
    rows = np.concatenate([draw(levels, (4, k)), np.full((1, k), max(levels))]).astype(np.int8)
    weights = EncodedTensor(BYTES, rows.shape, rows, None, np.ones(1, np.float32), np.zeros((2, len(rows)), np.float32))
    program, op = one_product("int8", (2, k), weights, None, False, True)
    codes = np.full((2, k), 255.0, np.float32)
    codes[1] = draw(256, k)
    assert_same_codes(program, op, (codes - program.quants[-1].zero) / 2)


# Of the largest logit, in int8 and in int16: twice what was seen.
ERRORS = {"mlp:20,8": (0.05, 6e-5), "lenet": (0.01, 1.2e-4), "digits_cnn": (0.06, 1.5e-4), "resnet20": (0.1, 4e-4),
          "resnet18": (0.0125, 1.6e-4), "googlenet": (0.006, 1e-4)}


@needs_kernels
@pytest.mark.parametrize("float_layer_bits", [8, 32])
@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("name", ERRORS)                # not alexnet, most of whose time is NumPy's
def test_a_network_s_logits_are_numpy_s(name, kind, float_layer_bits):
    network = packed(name, "shift2", float_layer_bits)
    floats, program = FloatNetwork(network), lower(network, kind)
    with_numpy, compiled = NumpyExecutor(program, floats.node), CompiledExecutor(program, floats.node)
    for n in (1, 3):
        x = samples(n, SHAPES[name], seed=n)
        expected = with_numpy(x)
        assert np.array_equal(compiled(x), expected) and np.array_equal(compiled(x), expected)
        assert np.abs(expected - floats(x)).max() <= ERRORS[name][kind == "int16"] * np.abs(floats(x)).max()


@needs_kernels
def test_rows_read_in_place_end_where_the_arena_ends():
    """Of a last tile with few rows a whole tile is read: behind the last value as much room as that takes."""
    weights = tensor((10, 20000), "bytes", 4)
    for kind in CODES:
        program, op = one_product(kind, (5, 20000), weights, None, False, False)
        run = CompiledExecutor(program, None).run(np.zeros((5, 20000), np.float32))
        begin = run.codes[-1].ctypes.data - run.arena.ctypes.data
        assert begin + tile_shape.MR * 20000 * program.dtype.itemsize <= run.arena.size


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
        env = {**os.environ, "NUMBA_NUM_THREADS": "2", **({} if isa == available()[0] else {"TINYQ_ISA": isa})}
        result = subprocess.run([sys.executable, SCRIPT, folder], env=env, capture_output=True, text=True, timeout=600)
        assert result.returncode == 0, result.stderr
        executor, digest = result.stdout.split()
        assert executor == isa
        return digest

    return of


# The best and the narrowest in every run, the others in the long one.
@pytest.mark.parametrize("isa", [pytest.param(isa.name, marks=() if isa in (ISA, NARROWEST) else pytest.mark.slow)
                                 for isa in ISAS])
def test_every_instruction_set_gives_numpy_s_bits(isa, hash_of):
    if isa not in available():
        pytest.skip(f"no {isa} here")
    assert hash_of(isa) == hash_of("numpy")
