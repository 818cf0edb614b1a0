"""RPR's partition: how many entries are frozen, what it depends on, what the layer sees and which gradient flows."""
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyq.autodiff import Tensor
from tinyq.checks import check_vjp
from tinyq.levels import NAMED
from tinyq.methods import LevelQuantizer
from tinyq.methods.rpr.partition import PartitionQuantizer, UnitQuantizer, frozen_count, part_frozen, relaxed_entries
from tinyq.streams import Streams

SCALE = np.array([0.3, 0.5, 0.7, 1.1], np.float32)


def normal(shape, dtype=np.float32):
    return Streams(0).key("w", *shape).normal(shape).astype(dtype)


@given(st.integers(0, 10_000), st.integers(1, 10**7))
def test_the_count_is_half_up_in_whole_numbers(ten_thousandths, n):
    assert frozen_count(Fraction(ten_thousandths, 10_000), n) == (2 * ten_thousandths * n + 10_000) // 20_000


@pytest.mark.parametrize("fraction, n, count", [("0.9", 5, 5), ("0.9", 4, 4), ("0.95", 10, 10), ("0.95", 30, 29),
                                                ("0.9875", 40, 40), ("0.9875", 120, 119), ("1", 7, 7), ("0", 7, 0)])
def test_the_count_by_hand(fraction, n, count):
    assert frozen_count(Fraction(fraction), n) == count


@pytest.mark.parametrize("fraction", ["0", "0.5", "0.9", "0.9875", "1"])
def test_a_partition_freezes_exactly_so_many(fraction):
    for shape in [(1,), (7, 9), (4, 3, 3, 3), (100, 41)]:
        relaxed = relaxed_entries(Streams(0).key("p"), shape, Fraction(fraction))
        assert relaxed.shape == shape and relaxed.dtype == bool
        assert (~relaxed).sum() == frozen_count(Fraction(fraction), relaxed.size)


def test_every_entry_is_relaxed_about_equally_often():
    count = sum(relaxed_entries(Streams(0).key("p", i), (20,), Fraction(9, 10)).astype(int) for i in range(2000))
    assert count.sum() == 4000 and count.min() > 140 and count.max() < 260


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_frozen_entries_show_their_level_and_relaxed_ones_themselves(dtype):
    w, unit = normal((4, 50), dtype), UnitQuantizer(NAMED["shift1"], SCALE.astype(dtype))
    relaxed = relaxed_entries(Streams(0).key("p"), w.shape, Fraction(3, 4))
    shown, scale = PartitionQuantizer(relaxed, unit.nearest(w), unit.scale)(Tensor(w))
    assert shown.dtype == dtype and scale is unit.scale
    assert np.array_equal(shown.data[relaxed], w[relaxed])
    assert np.array_equal(shown.data[~relaxed], NAMED["shift1"].nearest(w)[~relaxed])


def test_the_gradient_is_the_derivative_itself_and_no_surrogate():
    w = normal((4, 5), np.float64)
    relaxed = relaxed_entries(Streams(0).key("p"), w.shape, Fraction(1, 2))
    findings = check_vjp(part_frozen, w, rng=Streams(1).key("check"), relaxed=relaxed, levels=np.round(w))
    assert [finding.verdict for finding in findings] == ["ok"] and part_frozen.surrogate is None


def test_between_steps_no_gradient_reaches_the_latent():
    w = Tensor(normal((4, 5)), requires_grad=True)
    shown, _ = UnitQuantizer(NAMED["ternary"], SCALE)(w)
    assert not shown.requires_grad


@pytest.mark.parametrize("level_set", NAMED.values(), ids=lambda s: s.name)
def test_a_latent_in_units_of_the_scale_shows_what_one_in_its_own_units_does(level_set):
    unit, view = UnitQuantizer(level_set, SCALE), LevelQuantizer(level_set, SCALE)
    shown = unit.effective(normal((4, 200)))
    assert view.effective(shown).tobytes() == shown.tobytes()
    np.testing.assert_allclose(view.normalised(shown), unit.nearest(normal((4, 200))), rtol=1e-6)
    assert unit.normalised(shown) is shown
