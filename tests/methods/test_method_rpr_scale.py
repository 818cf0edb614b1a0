"""RPR's scale of a filter: the exact minimum, never worse than a dense search, binary by hand, and its edges."""
import numpy as np
import pytest

from tinyq.errors import BadInput
from tinyq.levels import NAMED, parse
from tinyq.methods.least_squares_scale import best_scale, best_scales
from tinyq.streams import Streams

SETS = [*NAMED.values(), *map(parse, ("-2,-1,0,1,2", "1,2,4", "-0.5,0.25,1", "-1,0,2", "-3,-1", "0,1"))]
every_set = pytest.mark.parametrize("level_set", SETS, ids=lambda s: s.name)


def error(w, s, level_set):
    return ((w - s * level_set.nearest(w, s)) ** 2).sum()


def dense_search(w, level_set):
    """The paper's way: 1000 points on (0, max |w|], here with another 1000 around the best of them; and s = 0."""
    grid = np.linspace(0, np.abs(w).max(), 1001)[1:]
    errors = [error(w, s, level_set) for s in grid]
    best = int(np.argmin(errors))
    around = np.linspace(grid[max(best - 1, 0)], grid[min(best + 1, 999)], 1000)
    return min((w**2).sum(), *(error(w, s, level_set) for s in around))


def filters():
    """Weights of many sizes and magnitudes; every third has repeated values, zeros and ties among them."""
    for i in range(24):
        stream = Streams(7).key("filter", i)
        w = stream.normal(int(stream.integers(1, 60))) * 10 ** stream.uniform(low=-3, high=2)
        yield np.round(w, 1) + 0.1 if i % 3 == 0 else w


@every_set
def test_it_is_never_worse_than_a_dense_search_with_refinement(level_set):
    for w in filters():
        s = best_scale(w, level_set)
        ours = error(w, s, level_set) if s else (w**2).sum()
        assert ours <= dense_search(w, level_set) + 1e-14 * (w**2).sum()


@every_set
def test_a_float32_layer_gets_the_scale_of_each_of_its_filters(level_set):
    w = Streams(1).key("w").normal((6, 3, 3, 3)).astype(np.float32)
    scales = best_scales(w, level_set)
    assert scales.shape == (6,) and scales.dtype == np.float32
    alone = [best_scale(row.reshape(-1).astype(np.float64), level_set) for row in w]
    np.testing.assert_allclose(scales, alone, rtol=1e-7)


def test_binary_is_the_mean_magnitude():
    for w in filters():
        assert best_scale(w, NAMED["binary"]) == pytest.approx(np.abs(w).mean(), rel=1e-14)


def test_ternary_by_hand():
    """Of 4, 3, 1: q = 1 1 0 gives s = 7/2 and error 1.5; q = 1 0 0 gives 10; q = 1 1 1 gives 4.7."""
    assert best_scale(np.array([4.0, -3.0, 1.0]), NAMED["ternary"]) == 3.5


@pytest.mark.parametrize("factor", [2.0**-20, 0.5, 8.0, 2.0**40])
def test_a_power_of_two_on_the_weights_is_one_on_the_scale(factor):
    for w in filters():
        assert best_scale(w * factor, NAMED["shift2"]) == best_scale(w, NAMED["shift2"]) * factor


@every_set
def test_a_filter_of_zeros_gets_one(level_set):
    w = np.zeros((3, 4), np.float32)
    w[1] = [0.25, -0.5, 0.75, 1]
    scales = best_scales(w, level_set)
    assert scales[0] == scales[2] == 1 and scales[1] > 0


def test_a_filter_that_no_scale_brings_nearer_gets_one():
    assert best_scales(np.full((1, 5), -0.3, np.float32), parse("1,2,4")).tolist() == [1]


def test_a_scale_too_small_to_divide_by_becomes_one():
    assert best_scales(np.full((1, 5), 1e-42, np.float32), NAMED["binary"]).tolist() == [1]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused_by_name(value):
    with pytest.raises(BadInput, match="conv2.weight.*finite"):
        best_scales(np.array([[1, value]], np.float32), NAMED["ternary"], "conv2.weight")
