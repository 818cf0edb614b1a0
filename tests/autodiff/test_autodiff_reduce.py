"""Reductions: their shapes, ties, and what a mean is made of."""
import numpy as np
import pytest

from tinyq.autodiff import Tensor, reductions
from tinyq.errors import UsageError


def x32(*shape):
    return np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)


@pytest.mark.parametrize("op, of_numpy", [
    (reductions.sum, np.sum), (reductions.mean, np.mean), (reductions.max, np.max)])
@pytest.mark.parametrize("axes", [None, 0, -1, (0, 2), (2, 0), (-1, 0), (0, 1, 2), ()])
@pytest.mark.parametrize("keepdims", [False, True])
def test_shapes_are_numpys(op, of_numpy, axes, keepdims):
    x = x32(2, 3, 4)
    y, expected = op(x, axis=axes, keepdims=keepdims), of_numpy(x, axis=axes, keepdims=keepdims)
    assert y.shape == expected.shape and np.allclose(y.data, expected, atol=1e-6)


def test_a_mean_is_the_sum_divided_by_the_count():
    x = x32(37, 11)
    assert reductions.mean(x, axis=0).data.tobytes() == (reductions.sum(x, axis=0).data / np.float32(37)).tobytes()


def test_the_sum_does_not_depend_on_the_layout():
    x = x32(50, 60)
    assert reductions.sum(np.asfortranarray(x)).data == reductions.sum(x).data


def test_equal_maxima_share_the_gradient():
    x = Tensor(np.array([[1.0, 3, 3], [2, 0, 1]]), requires_grad=True)
    reductions.max(x, axis=1).backward(np.array([4.0, 5.0]))
    assert x.grad.tolist() == [[0, 2, 2], [5, 0, 0]]


def test_a_maximum_of_zeros_is_plus_zero():
    for zeros in ([0.0, -0.0], [-0.0, 0.0], [-0.0, -0.0]):
        assert not np.signbit(reductions.max(np.array(zeros * 20, np.float32)).item())


@pytest.mark.parametrize("axes", [2, -3, (0, 0)])
def test_axes_that_are_not_there_are_refused(axes):
    with pytest.raises(UsageError, match=r"^sum: .*inputs: float32 \(2, 3\)"):
        reductions.sum(x32(2, 3), axis=axes)
