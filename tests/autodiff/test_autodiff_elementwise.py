"""Elementwise operations at zeros, ties, NaN and infinities, and where a power is exact."""
import math

import numpy as np
import pytest

from tinyq.autodiff import Tensor, elementwise

NAN, INF = math.nan, math.inf


def value_and_gradient(op, *values, **params):
    """Float32 output and gradients, the incoming gradient being 1, 2, 3, ..."""
    tensors = [Tensor(np.array(v, np.float32), requires_grad=True) for v in values]
    y = op(*tensors, **params)
    y.backward(np.arange(1, y.size + 1, dtype=np.float32))
    return [y.data.tolist(), *(t.grad.tolist() for t in tensors)]


def signs(values):
    return np.signbit(np.array(values, np.float32)).tolist()


def test_relu():
    y, gx = value_and_gradient(elementwise.relu, [-1, -0.0, 0, 2, INF])
    assert (y, gx) == ([0, 0, 0, 2, INF], [0, 0, 0, 4, 5])
    assert not any(signs(y) + signs(gx)), "zeros are +0"
    assert math.isnan(elementwise.relu(np.array([NAN])).item())


def test_selected_gradients_are_plus_zero_elsewhere_and_never_nan():
    x = Tensor(np.array([1.0, -1.0]), requires_grad=True)
    elementwise.where(np.array([True, False]), x, x.data).backward(np.array([-1.0, -INF]))
    assert x.grad.tolist() == [-1, 0] and not np.signbit(x.grad[1])


def test_maximum():
    x, y = [1, 5, 2, NAN, 1, -0.0], [4, 2, 2, 1, NAN, 0.0]
    top, gx, gy = value_and_gradient(elementwise.maximum, x, y)
    assert np.array_equal(top, [4, 5, 2, NAN, NAN, 0], equal_nan=True)
    assert gx == [0, 2, 1.5, 4, 0, 3] and gy == [1, 0, 1.5, 0, 5, 3], "ties share"


@pytest.mark.parametrize("x, y", [(0.0, -0.0), (-0.0, 0.0)])
def test_of_two_zeros_maximum_takes_the_first(x, y):
    top = elementwise.maximum(np.full(40, x, np.float32), np.full(40, y, np.float32)).data
    assert signs(top) == signs([x] * 40)


def test_clip():
    y, gx = value_and_gradient(elementwise.clip, [-2, -1, 0.5, 1, 2, NAN], low=-1, high=1)
    assert np.array_equal(y, [-1, -1, 0.5, 1, 1, NAN], equal_nan=True)
    assert gx == [0, 2, 3, 4, 0, 6]


def test_abs():
    assert value_and_gradient(elementwise.abs, [-2, 0, 3]) == [[2, 0, 3], [-1, 0, 3]]


def test_where_has_no_gradient_for_its_condition():
    y, gx, gy = value_and_gradient(lambda x, y: elementwise.where(np.array([True, False]), x, y), [1, 2], [3, 4])
    assert (y, gx, gy) == ([1, 4], [1, 0], [0, 2])


@pytest.mark.parametrize("exponent", range(1, 12))
def test_an_integer_power_is_a_chain_of_products(exponent):
    """Integers below 2**24 are exact in float32, so every order of products gives the same."""
    x = np.array([-3, -2, -1, 0, 1, 2, 3], np.float32)
    assert elementwise.power(x, exponent=exponent).data.tolist() == [int(v) ** exponent for v in x]


def test_a_cube_is_x_times_x_times_x():
    x = np.linspace(-2, 2, 101, dtype=np.float32)
    assert elementwise.power(x, exponent=3).data.tobytes() == (x * x * x).tobytes()


def test_power_at_zero():
    assert value_and_gradient(elementwise.power, [0, 2], exponent=0) == [[1, 1], [0, 0]]
    assert value_and_gradient(elementwise.power, [0, 2], exponent=1) == [[0, 2], [1, 2]]
    assert value_and_gradient(elementwise.power, [4.0, 9.0], exponent=0.5) == [[2, 3], [0.25, np.float32(1 / 3)]]


@pytest.mark.parametrize("exponent", [1.5, -0.5, 1 / 3])
def test_other_powers_are_rounded_once(exponent):
    x = np.geomspace(1e-6, 1e6, 1001)
    np.testing.assert_allclose(elementwise.power(x, exponent=exponent).data, x**exponent, rtol=1e-14)
    single = x.astype(np.float32)
    np.testing.assert_array_equal(elementwise.power(single, exponent=exponent).data,
                                  (single.astype(np.float64)**exponent).astype(np.float32))


def test_numbers_and_tensors_are_bases_and_exponents():
    x, y = Tensor(np.array([2.0, -3.0]), True), Tensor(np.array([3.0, 2.0]), True)
    for z, expected in ((x ** y, [8, 9]), (2 ** y, [8, 4]), (x ** 2, [4, 9]), (x % 2, [0, 1]), (x // 2, [1, -2])):
        np.testing.assert_allclose(z.data, expected, rtol=1e-14)
    (x ** y).sum().backward()
    np.testing.assert_allclose(x.grad, [12, -6], rtol=1e-14)
    assert y.grad[0] == pytest.approx(8 * math.log(2)) and math.isnan(y.grad[1]), "no derivative for a negative base"


def test_large_sums_of_one_shape_and_of_two_agree():
    x = np.linspace(-1, 1, 3 * 70_000, dtype=np.float32).reshape(3, -1)
    assert elementwise.add(x, x[:1].repeat(3, 0)).data.tobytes() == elementwise.add(x, x[:1]).data.tobytes()
