"""log, cos and sin against the system's, and the same bits however they are called."""
import hashlib
import math

import numpy as np
import pytest

from tinyq import portable


def ulps(got, expected):
    return np.abs(got - expected) / np.spacing(np.abs(expected))


@pytest.mark.parametrize("low, high", [(1e-300, 1e-3), (1e-3, 0.7), (0.7, 1.5), (1.5, 1e6), (1e6, 1e300)])
def test_log_is_within_4_units_in_the_last_place(low, high):
    x = np.geomspace(low, high, 2001)
    expected = np.array([math.log(v) for v in x])
    assert ulps(portable.log(x), expected).max() <= 4


@pytest.mark.parametrize("x, expected", [(1.0, 0.0), (2.0, math.log(2)), (5e-324, -744.4400719213812)])
def test_log_at_landmarks(x, expected):
    assert portable.log(x) == pytest.approx(expected, rel=1e-15, abs=0)


@pytest.mark.parametrize("ours, theirs", [(portable.cos, math.cos), (portable.sin, math.sin)], ids=["cos", "sin"])
def test_cos_and_sin_within_a_few_turns(ours, theirs):
    x = np.linspace(-20, 20, 8001)
    expected = np.array([theirs(v) for v in x])
    np.testing.assert_allclose(ours(x), expected, rtol=0, atol=4e-16)


def test_landmarks_of_the_circle():
    assert portable.cos(0.0) == 1 and portable.sin(0.0) == 0
    assert portable.cos(portable.PI) == -1
    assert portable.sin(portable.PI / 2) == 1


def test_one_at_a_time_and_in_bulk_agree_bit_for_bit():
    x = np.linspace(0.01, 6.28, 257)
    for f in (portable.log, portable.cos, portable.sin):
        assert f(x).tobytes() == np.array([f(v) for v in x]).tobytes()
        assert f(x[::3]).tobytes() == f(x)[::3].tobytes()


def test_the_bits_are_the_ones_of_record():
    x = np.linspace(0.01, 6.28, 1001)
    digest = hashlib.sha256(b"".join(f(x).astype("<f8").tobytes() for f in (portable.log, portable.cos, portable.sin)))
    assert digest.hexdigest() == "5b3a826061de986bbc3cf630b131aa371e5ac1a9e258e2ca66d7e5bcef13577b"


@pytest.mark.parametrize("name, low, high, reference", [
    ("exp", -700, 700, math.exp), ("expm1", -2, 2, math.expm1), ("expm1", -1e-9, 1e-9, math.expm1),
    ("log1p", -0.999, 5, math.log1p), ("log1p", -1e-9, 1e-9, math.log1p), ("real_log", 1e-3, 9, math.log),
    ("sin", -1e9, 1e9, math.sin), ("cos", -1e300, 1e300, math.cos)])
def test_functions_of_float64_are_the_systems(name, low, high, reference):
    x = np.linspace(low, high, 997)
    expected = np.array([reference(v) for v in x])
    np.testing.assert_allclose(getattr(portable, name)(x), expected, rtol=1e-15, atol=4e-16 * (name in ("sin", "cos")))


def test_the_normal_distribution_keeps_its_digits_in_both_tails():
    x = np.linspace(-37, 9, 997)
    expected = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x])
    np.testing.assert_allclose(portable.normal_cdf(x), expected, rtol=3e-13)


def test_powers_are_those_of_ieee_754():
    special = [0.0, -0.0, 1.0, -1.0, 2.0, -3.0, 0.5, math.inf, -math.inf, math.nan, 1e300]
    for x in special:
        for y in special:
            try:
                expected = math.pow(x, y)
            except (ValueError, OverflowError):                # 0 ** -1, (-3) ** 0.5, an overflow
                with np.errstate(all="ignore"):
                    expected = np.power(x, y)
            np.testing.assert_allclose(portable.power(x, y), expected, rtol=1e-13, err_msg=f"{x} ** {y}")
            assert math.isnan(expected) or np.signbit(portable.power(x, y)) == np.signbit(expected), (x, y)


def test_ends_of_the_range():
    x = np.array([-np.inf, np.inf, np.nan, 0.0])
    for function, expected in ((portable.exp, [0, np.inf, np.nan, 1]), (portable.expm1, [-1, np.inf, np.nan, 0]),
                               (portable.real_log, [np.nan, np.inf, np.nan, -np.inf]),
                               (portable.log1p, [np.nan, np.inf, np.nan, 0]), (portable.sin, [np.nan] * 3 + [0]),
                               (portable.normal_cdf, [0, 1, np.nan, 0.5])):
        np.testing.assert_array_equal(function(x), expected)
    assert portable.log1p(-1.0) == -np.inf and math.isnan(portable.log1p(-2.0))
