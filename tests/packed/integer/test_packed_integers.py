"""The integer program: its arithmetic against Python's integers, its operations against the float evaluation."""
import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_networks import constrained, packed, samples
from small_models import MODELS, SHAPE, small

from tinyq import nn
from tinyq.errors import UsageError
from tinyq.kernels.geometry.conv_geometry import conv_geometry
from tinyq.kernels.reference.integer.code_ops import dequantise, quantise
from tinyq.kernels.reference.integer.requantise import requantise, rounded
from tinyq.packed.file.encode_model import pack
from tinyq.packed.file.format import Packed
from tinyq.packed.file.graph import Graph, Node, Weight
from tinyq.packed.file.tensor import encode_bytes, encode_levels
from tinyq.packed.float_network import FloatNetwork
from tinyq.packed.integer import calibrate
from tinyq.packed.integer.lowering import lower
from tinyq.packed.integer.numpy_executor import NumpyExecutor
from tinyq.packed.integer.program import MAX_SUM, IntegerProduct, IntegerProgram, Quant, Quantise, Requant
from tinyq.packed.integer.scales import INTEGER_KINDS, MAX_RESULT, choose_quants, compute_requant, group_tied

KINDS = ("int8", "int16")


def half_even(v, shift):
    return round(Fraction(int(v), 1 << shift))           # Python rounds a Fraction half to even


# -- arithmetic --------------------------------------------------------------------------------------------------------

@settings(max_examples=500, deadline=None)
@given(st.integers(-(1 << 62) + 1, (1 << 62) - 1), st.integers(1, 61))
def test_rounding_is_half_to_even(v, shift):
    assert int(rounded(np.int64(v), shift)) == half_even(v, shift)


@pytest.mark.parametrize("shift", [1, 2, 3, 31, 60])
def test_ties_go_to_the_even_number(shift):
    half = 1 << (shift - 1)
    for whole in range(-5, 6):
        if abs(whole << shift) + half < 1 << 62:
            values = np.array([(whole << shift) + d for d in (half, half - 1, 1 - half, -half)], np.int64)
            assert rounded(values, shift).tolist() == [half_even(v, shift) for v in values.tolist()]


@settings(max_examples=300, deadline=None)
@given(st.integers(-MAX_SUM, MAX_SUM), st.integers(-MAX_SUM, MAX_SUM), st.integers(-(1 << 60), 1 << 60),
       st.integers(1, 61), st.integers(-32767, 32767), st.integers(0, MAX_SUM), st.integers(0, 10))
def test_a_requantised_sum_is_the_formula_s(total, multiplier, offset, shift, added, factor, left):
    v = total * multiplier + offset + ((added * factor) << left)
    if abs(v) < 1 << 62 and abs(total * multiplier) < 1 << 62:
        code = requantise(np.array([total]), np.array([multiplier], np.int32), np.array([offset]), shift, -100, 100,
                          np.array([added], np.int16), factor, left)
        assert code.tolist() == [min(100, max(-100, half_even(v, shift)))]


@pytest.mark.parametrize("dtype, quant", [(np.uint8, Quant(0.25, 100, 0, 255)),
                                          (np.int16, Quant(0.25, 0, -32767, 32767))])
def test_quantised_values_at_the_edges(dtype, quant):
    values = {0.0: 0, 0.125: 0, 0.375: 2, -0.125: 0, -0.375: -2, 1.0: 4, np.nan: 0, 1e-45: 0,
              np.inf: quant.high - quant.zero, -np.inf: quant.low - quant.zero, 3e38: quant.high - quant.zero,
              -3e38: quant.low - quant.zero}
    x = np.array(list(values), np.float32).reshape(1, 1, -1)
    codes = np.empty((1, x.size, 1), dtype)
    quantise(x, 4.0, quant.zero, quant.low, quant.high, codes)
    assert (codes.astype(int).reshape(-1) - quant.zero).tolist() == list(values.values())
    every = np.arange(quant.low, quant.high + 1).astype(dtype).reshape(1, -1, 1)
    floats, again = np.empty((1, 1, every.size), np.float32), np.empty_like(every)
    dequantise(every, quant.zero, quant.scale, floats)
    quantise(floats, 4.0, quant.zero, quant.low, quant.high, again)
    assert np.array_equal(again, every)
    result = np.empty((1, 1, 1), np.float32)
    dequantise(np.full((1, 1, 1), MAX_RESULT, np.int32), 0, 0.5, result)
    assert result == MAX_RESULT / 2


@pytest.mark.parametrize("width", [0.0, 1e-45, 1e-40, 1e-38, 1e-30, 3e38])
@pytest.mark.parametrize("kind", KINDS)
def test_any_range_gives_codes_without_a_nan(kind, width):
    network = small("residual")
    ranges = np.stack([np.zeros(network.ranges.shape[:2]), np.full(network.ranges.shape[:2], width)], axis=-1)
    network = dataclasses.replace(network, ranges=ranges.astype(np.float32))
    try:
        program = lower(network, kind)
    except UsageError as error:
        assert "far outside the calibrated range" in str(error)
        return
    x = np.concatenate([samples(2, SHAPE), np.zeros((1, *SHAPE), np.float32), np.full((1, *SHAPE), 3e38, np.float32)])
    assert np.isfinite(NumpyExecutor(program, FloatNetwork(network).node)(x)).all()


# -- the largest sums --------------------------------------------------------------------------------------------------

PATTERNS = {"ones": lambda k: np.ones(k), "minus ones": lambda k: -np.ones(k),
            "alternating": lambda k: np.where(np.arange(k) % 2, -1, 1)}


def one_product(kind, rows, geometry, quant):
    """A program of one product with float rows in whole numbers, its result's codes the sums themselves."""
    levels = np.unique(rows).astype(np.float32)
    shape = geometry.w_shape if geometry else rows.shape
    affine = np.ones((2, len(rows)), np.float32)
    unscaled = rows.reshape(shape).astype(np.float32)
    tensor = encode_levels(unscaled, levels, np.ones(1, np.float32), affine) if len(levels) > 1 else encode_bytes(
        unscaled, affine)
    whole = tensor.unscaled().reshape(len(rows), -1)
    requant = Requant(np.full(len(rows), 2, np.int32), np.zeros(len(rows), np.int64), 1, -MAX_SUM, MAX_SUM)
    op = IntegerProduct(-1, 0, None, tensor, 1.0, geometry, quant.zero, requant)
    dtype = np.dtype(np.uint8 if kind == "int8" else np.int16)
    x_shape = geometry.x_shape[1:] if geometry else (rows.shape[1],)
    y_shape = geometry.output_shape[1:] if geometry else (len(rows),)
    quants = {-1: quant, 0: Quant(1.0, 0, -MAX_SUM, MAX_SUM)}
    start = Quantise(-1, -1, 1.0, quant)
    return IntegerProgram(kind, dtype, (start, op), {-1: x_shape, 0: y_shape}, quants, 0, 0), whole.astype(int)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("k", [1, 9, 255, 4096, 9216])
@pytest.mark.parametrize("kind, quant", [("int8", Quant(1.0, 0, 0, 255)), ("int8", Quant(1.0, 255, 0, 255)),
                                         ("int16", Quant(1.0, 0, -32767, 32767))])
def test_the_largest_sums_are_exact(kind, quant, k, pattern):
    rows = np.stack([PATTERNS[pattern](k), -PATTERNS[pattern](k), np.where(np.arange(k) == k // 2, -1, 1)])
    program, whole = one_product(kind, rows, None, quant)
    if np.abs(whole).sum(axis=1).max() * max(-quant.low, quant.high) > MAX_SUM:      # lower() refuses or narrows these
        program, whole = one_product(kind, rows := np.concatenate([rows, 0 * rows[:1]]), None, quant)
    for ends in ([quant.high], [quant.low], [quant.high, quant.low]):
        x = np.resize(np.array(ends), (1, k))
        codes = NumpyExecutor(program, None).codes((x - quant.zero).astype(np.float32))
        assert np.array_equal(codes[-1], x)
        expected = [sum(int(q) * int(w) for q, w in zip(x[0], row, strict=True)) for row in whole]
        assert codes[0].tolist() == [[min(MAX_SUM, max(-MAX_SUM, e)) for e in expected]]


@pytest.mark.parametrize("kind, quant", [("int8", Quant(1.0, 17, 0, 255)), ("int16", Quant(1.0, 0, -32767, 32767))])
@pytest.mark.parametrize("shape, w, options", [
    ((4, 5, 6), (6, 2, 3, 2), {"groups": 2, "padding": (2, 1), "stride": (2, 1)}),
    ((3, 9, 7), (5, 3, 3, 3), {"dilation": (2, 3), "padding": 3}), ((2, 3, 3), (4, 2, 2, 2),
     {"padding": (4, 5), "stride": 3}),
    ((6, 4, 4), (6, 1, 3, 3), {"groups": 6, "padding": 1})])
def test_a_convolution_s_sums_are_python_s(kind, quant, shape, w, options):
    rng = np.random.Generator(np.random.Philox(4))
    geometry = conv_geometry((1, *shape), w, **options)
    rows = rng.integers(-1, 2, (w[0], int(np.prod(w[1:]))))
    rows[0, :2] = -1, 1
    program, whole = one_product(kind, rows, geometry, quant)
    x = rng.integers(quant.low, quant.high + 1, shape)
    codes = NumpyExecutor(program, None).codes((x - quant.zero)[None].astype(np.float32))[0][0]
    (py, px), (sy, sx), (dy, dx), c = geometry.padding, geometry.stride, geometry.dilation, w[1]
    for m, oy, ox in np.ndindex(codes.shape):
        total = 0
        for i, (ci, ky, kx) in enumerate(np.ndindex(w[1:])):
            y, column = oy * sy + ky * dy - py, ox * sx + kx * dx - px
            inside = 0 <= y < shape[1] and 0 <= column < shape[2]
            first = m // (w[0] // geometry.groups) * c
            total += int(whole[m, i]) * int(x[first + ci, y, column] if inside else quant.zero)
        assert codes[m, oy, ox] == total


# -- whole programs ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", MODELS)
def test_every_operation_in_int16_is_near_the_floats(name):
    network = small(name)
    x = samples(4, SHAPE)                                                   # what it was calibrated with
    floats = FloatNetwork(network)
    program = lower(network, "int16")
    expected, y = floats(x), NumpyExecutor(program, floats.node)(x)
    assert np.abs(y - expected).max() <= bound(network, program, floats, x) < 0.2 * np.abs(expected).max()
    assert not np.array_equal(y, expected)                                  # these are other numbers, not the floats


def bound(network, program, floats, x):
    """Largest error of a logit: half a step where a value is rounded, carried through by the sums of |weights|.

    Derived node by node: a product multiplies its input's error by the largest row sum of |scale * level| and adds the
    one of its second input; means, maxima, ReLUs, tanh and moves do not enlarge an error; an addition adds two.
    """
    errors, largest = {}, {number: float(np.abs(value).max()) for number, value in floats.values(x)}
    for number in range(-1, len(network.graph.nodes)):
        error = 0.0
        if number >= 0:
            node = network.graph.nodes[number]
            before = [errors[a] for a in node.inputs if isinstance(a, int)]
            error = sum(before) if node.operation == "add" else max(before)
            if node.weight:
                tensor = network.tensors[node.weight.name]
                gain = np.abs(tensor.unscaled().reshape(tensor.rows, -1)).sum(axis=1) * np.abs(tensor.affine[0])
                error = float(gain.max()) * before[0] + sum(before[1:])
        step = program.quants[number].scale / 2 if number in program.quants else 0.0
        errors[number] = error + step + 4e-6 * largest[number]              # and the float evaluation's own roundings
    return errors[len(network.graph.nodes) - 1]


@pytest.mark.parametrize("name", MODELS)
def test_every_operation_in_int8_is_sane(name):
    network = small(name, float_layer_bits=8)
    x, floats = samples(4, SHAPE), FloatNetwork(network)
    expected, y = floats(x), NumpyExecutor(lower(network, "int8"), floats.node)(x)
    assert np.abs(y - expected).max() <= 0.03 * np.abs(expected).max()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MODELS)
def test_far_outside_the_calibrated_range_codes_stay_at_their_ends(name, kind):
    network = small(name)
    program = lower(network, kind)
    runner = NumpyExecutor(program, FloatNetwork(network).node)
    ordinary = np.ones((2, *SHAPE), np.float32)
    for x in (1e6 * samples(2, SHAPE), np.nan * ordinary, np.inf * ordinary):
        for value, codes in runner.codes(x).items():
            quant = program.quants[value]
            assert quant.low <= codes.min() and codes.max() <= quant.high
            assert codes.dtype == (np.int32 if program.is_wide(value) else program.dtype)
    first = next(op.y for op in program.operations if isinstance(op, Quantise))
    most = runner.codes(1e6 * samples(2, SHAPE))[first]
    assert {most.min(), most.max()} == {program.quants[first].low, program.quants[first].high}


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_s_integers_do_not_depend_on_its_batch(kind):
    network = packed("resnet20")
    runner, x = NumpyExecutor(lower(network, kind), FloatNetwork(network).node), samples(5, (3, 16, 16))
    together = runner(x)
    assert np.array_equal(together, np.concatenate([runner(x[i:i + 1]) for i in range(5)]))


def linear(k, levels, value, ranges=((0, 1), (-9, 9)), scale=1.0):
    """A packed network of one linear layer, every weight `value`."""
    levels = np.array(levels, np.float32)
    unscaled = np.full((1, k), value, np.float32)
    tensor = encode_levels(unscaled, levels, np.ones(1, np.float32), np.array([[scale], [0]], np.float32))
    node = Node("product", (-1,), {"options": None, "relu": False}, (1,), Weight("fc", (1, k)))
    return Packed(Graph((k,), (node,)), {"fc": tensor}, {}, {}, np.array([ranges, ranges], np.float32))


def test_sums_that_leave_int32_are_refused_in_int8():
    k = MAX_SUM // (255 * 127) + 1
    assert lower(linear(k - 1, [-127, 127], 127), "int8")
    with pytest.raises(UsageError, match="the sums of fc overflow int32; use float32"):
        lower(linear(k, [-127, 127], 127), "int8")


def test_codes_are_narrower_where_sums_would_leave_int32_in_int16():
    k = 70_000
    program = lower(linear(k, [-1, 1], 1), "int16")
    assert program.quants[-1].high == MAX_SUM // k < 32767
    assert program.quants[-1].high * k <= MAX_SUM


@pytest.mark.parametrize("kind", KINDS)
def test_sums_that_leave_int32_with_the_least_codes_are_refused(kind):
    ranges = np.array([[[-1, 1]], [[-1, 1]]], np.float32)
    readers = {-1: [("fc", MAX_SUM if kind == "int16" else MAX_SUM // 255)]}
    assert choose_quants(INTEGER_KINDS[kind], ranges, [[-1]], readers.get)[-1].high == (1 if kind == "int16" else 255)
    with pytest.raises(UsageError, match=f"activations {kind}: the sums of fc overflow int32; use float32"):
        choose_quants(INTEGER_KINDS[kind], ranges, [[-1]], lambda value: [("fc", MAX_SUM + 1)])


def test_values_that_are_tied_share_a_scale():
    assert group_tied({-1, 0, 1, 2, 5}, [(0, 1), (5, 1)]) == [[-1], [0, 1, 5], [2]]


@pytest.mark.parametrize("ratio", [1, 0.37, 1e-6, 3e6, 2.5e9])
def test_an_added_value_s_multiplier_is_its_ratio_rounded_down(ratio):
    quant, other = Quant(1.0, 0, -100, 100), Quant(float(np.float32(ratio)), 0, -100, 100)
    found = compute_requant(quant, [1e-4], [0.0], [1000], added=other)
    exact = Fraction(other.scale) * 2**found.shift
    step = found.added_multiplier << found.added_shift
    assert 0 <= found.added_multiplier <= MAX_SUM and abs(step - exact) <= max(Fraction(1, 2), 1 << found.added_shift)
    assert found.added_shift == 0 or step <= exact


@pytest.mark.parametrize("levels", [[-0.3, 0.3, 0.7], [0.1, 0.2], [-1, 1, 128], [-1, 2**-7, 1]])
def test_levels_that_are_no_whole_multiples_are_refused(levels):
    with pytest.raises(UsageError, match="the levels of fc are not k \\* 2\\^n with whole k up to 127"):
        lower(linear(3, levels, levels[0]), "int8")


@pytest.mark.parametrize("levels, unit", [([-1, 1], 1), ([-1, -0.5, 0, 0.5, 1], 0.5), ([-2, 0, 2], 2), ([-4, 127], 1),
                                          ([-1, 2**-6, 1], 2**-6)])
def test_the_unit_is_the_largest_power_of_two(levels, unit):
    product = lower(linear(3, levels, levels[0]), "int8").operations[-1]
    assert isinstance(product, IntegerProduct) and product.unit == unit


@pytest.mark.parametrize("scale", [1e30, 3e38])
def test_values_far_from_their_scale_are_refused(scale):
    with pytest.raises(UsageError, match="far outside the calibrated range"):
        lower(linear(3, [-1, 1], 1, ((0, 1), (-1e-30, 1e-30)), scale), "int8")


def test_without_calibration_there_are_no_integers():
    with pytest.raises(UsageError, match="packed without calibration; apply tinyq.packed.network.calibrated"):
        lower(dataclasses.replace(linear(3, [-1, 1], 1), ranges=None), "int8")


def test_a_layer_of_zero_weights_computes_its_bias():
    model = constrained(nn.constrain(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)), "none"))
    next(iter(model)).weight.data[...] = 0
    network = pack(model, (4,), {}, float_layer_bits=8)
    network = dataclasses.replace(network, ranges=calibrate.ranges(network, [samples(4, (4,))]))
    for kind in KINDS:
        floats = FloatNetwork(network)
        x = samples(3, (4,))
        assert np.abs(NumpyExecutor(lower(network, kind), floats.node)(x) - floats(x)).max() < 0.02
