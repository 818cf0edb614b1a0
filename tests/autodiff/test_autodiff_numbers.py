"""Tensors beside NumPy and Python: numbers, arrays, comparisons, lengths."""
import numpy as np
import pytest

from tinyq.autodiff import Tensor, elementwise, losses
from tinyq.errors import UsageError


def tensor(*values, requires_grad=False):
    return Tensor(np.array(values, np.float32), requires_grad)


NUMBERS = [2, 2.0, np.int64(2), np.uint8(2), np.float16(2), np.float32(2), np.float64(2), np.array(2), np.array([2, 2])]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda n: f"{type(n).__name__} {np.shape(n)}")
def test_a_number_beside_a_tensor_takes_its_dtype(number):
    x = tensor(1.0, 3.0, requires_grad=True)
    for y, expected in ((x * number, [2, 6]), (number * x, [2, 6]), (x + number, [3, 5]), (number - x, [1, -1]),
                        (x / number, [0.5, 1.5]), (number / x, [2, np.float32(2) / np.float32(3)])):
        assert isinstance(y, Tensor) and y.dtype == np.float32 and y.requires_grad
        np.testing.assert_array_equal(y.data, np.array(expected, np.float32))
    (x * number).sum().backward()
    np.testing.assert_array_equal(x.grad, [2, 2])


def test_primitives_take_numbers_as_operators_do():
    x = tensor(-1.0, 3.0)
    assert elementwise.maximum(x, 0.0).data.tolist() == [0, 3]
    assert elementwise.where(x > 0, x, np.float64(0.5)).data.tolist() == [0.5, 3]
    assert elementwise.mul(np.int64(2), x).dtype == np.float32
    with pytest.raises(UsageError, match="mul: .*float64 of float32 inputs.*convert the whole numbers with astype"):
        elementwise.mul(x, np.array([1, 2]))
    with pytest.raises(UsageError, match="float32 and float64 do not mix"):
        x * np.array([1.0, 2.0])


def test_a_tensor_becomes_an_array_or_a_number():
    x = tensor(1.0, 2.0)
    assert np.asarray(x) is x.data and np.array(x) is not x.data and np.asarray(x, np.float64).dtype == np.float64
    assert np.mean([x.sum(), x.sum()]) == 3.0 and np.mean([x.sum(), x.sum()]).dtype == np.float32
    assert float(x[0]) == 1.0 and int(x[1]) == 2 and f"{x.sum():.2f}" == "3.00" and f"{x}" == str(x)
    for convert in (float, int, bool, lambda t: f"{t:.2f}", lambda t: t.item()):
        with pytest.raises(UsageError, match=r"a tensor of \(2,\) is not one number; index it, or reduce it"):
            convert(x)


def test_length_and_iteration_are_those_of_the_first_axis():
    x = Tensor(np.arange(6, dtype=np.float32).reshape(3, 2), requires_grad=True)
    assert len(x) == 3 and [row.shape for row in x] == [(2,)] * 3
    sum(row.sum() * (i + 1) for i, row in enumerate(x)).backward()
    np.testing.assert_array_equal(x.grad, [[1, 1], [2, 2], [3, 3]])
    for use in (len, iter):
        with pytest.raises(TypeError):
            use(x.sum())


def test_comparisons_are_elementwise_and_a_tensor_is_itself_as_a_key():
    x, y = tensor(1.0, 2.0, 3.0), tensor(3.0, 2.0, 1.0)
    found = [x == y, x != y, x < y, x <= y, x > y, x >= y]
    assert [a.tolist() for a in found] == [[False, True, False], [True, False, True], [True, False, False],
                                           [True, True, False], [False, False, True], [False, True, True]]
    assert (x > 1).sum() == 2 and (np.float32(2) == x).tolist() == [False, True, False]
    assert (y.data == x).tolist() == [False, True, False]
    assert {x: 1, y: 2}[y] == 2 and x in {x} and x not in {y} and len({x, y, x}) == 2


@pytest.mark.parametrize("shapes", [((4, 1), (4,)), ((4,), (4, 1)), ((4,), ()), ((2, 3), (1, 3))])
def test_mean_squared_error_wants_equal_shapes(shapes):
    x, target = (Tensor(np.ones(shape, np.float32)) for shape in shapes)
    for given in (target, target.data):
        with pytest.raises(UsageError, match="mean_squared_error: the input is .*, the target .*; reshape one of them"):
            losses.mean_squared_error(x, given)
