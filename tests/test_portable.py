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
