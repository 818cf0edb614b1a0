"""Nearest levels and CBP's constraint function: the numba kernels have the bits of their references."""
import numpy as np
import pytest

from tinyq.kernels.elementwise import discrete as fast
from tinyq.kernels.reference.elementwise import discrete as reference
from tinyq.levels import NAMED, parse, rounded_down

SETS = [*NAMED.values(), parse("-0.7,0.1,0.2"), parse("0,1")]
SHAPES = [(1,), (7,), (1024,), (1025,), (3, 5), (4, 3, 3, 3), (2, 0, 3), ()]
f32 = np.float32


def weights(shape, seed=0):
    rng = np.random.default_rng(seed)
    w = rng.standard_normal(shape).astype(f32)
    return np.asarray(np.where(rng.random(shape) < 0.2, f32(0.5), w))              # ties among them


def edges(level_set, g, scale=0.8):
    q = f32(scale) * level_set.values.astype(f32)
    m, u = (q[:-1] + q[1:]) / f32(2), f32(1 - 1 / g)
    return q, q[:-1] + (m - q[:-1]) * u, q[1:] + (m - q[1:]) * u


def same_bits(a, b):
    return (a.shape, a.dtype, a.tobytes()) == (b.shape, b.dtype, b.tobytes())


@pytest.mark.parametrize("level_set", SETS, ids=lambda s: s.name)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_nearest_level_has_the_bits_of_its_reference_and_of_the_level_set(level_set, shape):
    w, scale = weights(shape), f32(0.37)
    tables = rounded_down(np.float64(scale) * level_set.midpoints, f32), level_set.values.astype(f32)
    y = fast.nearest_level(w, *tables)
    assert same_bits(y, reference.nearest_level(w, *tables))
    assert same_bits(y, np.asarray(level_set.nearest(w, scale)))


@pytest.mark.parametrize("shape", [(5, 4), (5, 2, 3, 3), (1, 1), (5, 2000)], ids=str)
def test_a_row_of_thresholds_for_each_filter(shape):
    level_set, w = NAMED["shift1"], weights(shape)
    scale = np.linspace(0.2, 1.3, shape[0], dtype=f32)
    tables = rounded_down(np.multiply.outer(scale, level_set.midpoints), f32), level_set.values.astype(f32)
    y = fast.nearest_level(w, *tables)
    assert same_bits(y, reference.nearest_level(w, *tables))
    assert same_bits(y, level_set.nearest(w, scale.reshape(-1, *[1] * (w.ndim - 1))))


@pytest.mark.parametrize("level_set", SETS, ids=lambda s: s.name)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("g", [1, 2, 7, 30, np.inf])
def test_the_constraint_function_has_the_bits_of_its_reference(level_set, shape, g):
    w, tables = weights(shape), edges(level_set, g)
    for ours, theirs in zip(fast.constraint(w, *tables), reference.constraint(w, *tables), strict=True):
        assert same_bits(ours, np.asarray(theirs))


@pytest.mark.parametrize("module", [fast, reference], ids=["kernel", "reference"])
def test_the_edges_themselves(module):
    q, end, begin = edges(NAMED["ternary"], 4, scale=1)
    assert (end.tolist(), begin.tolist()) == ([-0.625, 0.375], [-0.375, 0.625])
    w = np.array([-1, -0.625, -0.5, -0.375, -0.0, 0.0, 0.375, 0.5, 0.625, 1], f32)
    cs, slope = module.constraint(w, q, end, begin)
    assert cs.tolist() == [0, 0.75, 0, 0.75, 0, 0, 0.75, 0, 0.75, 0]
    assert not np.signbit(cs).any()
    assert slope.tolist() == [2, 0, 0, -2, 2, 2, 0, 0, -2, 2]


@pytest.mark.parametrize("module", [fast, reference], ids=["kernel", "reference"])
def test_a_nan_stays_visible(module):
    w = np.array([np.nan, 0.3], f32)
    q, end, begin = edges(NAMED["ternary"], 3)
    assert np.isnan(module.constraint(w, q, end, begin)[0]).tolist() == [True, False]
    assert module.nearest_level(w, np.array([-0.4, 0.4], f32), NAMED["ternary"].values.astype(f32)).tolist() == [-1, 0]


def test_any_strides_and_the_input_unchanged():
    w = weights((6, 8))
    before, tables = w.copy(), edges(NAMED["shift2"], 3)
    for view in (w.T, w[::2, 1::3], w[:, ::-1]):
        for ours, theirs in zip(fast.constraint(view, *tables), fast.constraint(view.copy(), *tables), strict=True):
            assert same_bits(ours, theirs) and ours.flags.c_contiguous
    assert same_bits(w, before)


@pytest.mark.parametrize("level_set", SETS, ids=lambda s: s.name)
@pytest.mark.parametrize("shape", [(1025,), (5, 4), (5, 2, 3, 3), (5, 2000)], ids=str)
def test_recode_counts_the_weights_that_changed_their_level(level_set, shape):
    scale = np.linspace(0.2, 1.3, shape[0], dtype=f32)
    thresholds = rounded_down(np.multiply.outer(scale, level_set.midpoints), f32)
    w, other = weights(shape), weights(shape, seed=1)
    ours, theirs = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    for array in (w, other):
        assert fast.recode(array, thresholds, ours) == reference.recode(array, thresholds, theirs) > 0
        assert np.array_equal(ours, theirs)
    assert np.array_equal(ours, level_set.codes(other, scale.reshape(-1, *[1] * (w.ndim - 1))))
    assert fast.recode(other, thresholds, ours) == 0
