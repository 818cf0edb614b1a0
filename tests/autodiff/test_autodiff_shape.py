"""Moving elements: NumPy's results, repeated picks, errors."""
import numpy as np
import pytest

from tinyq.autodiff import Tensor, shape
from tinyq.errors import UsageError


def leaf(*sizes):
    return Tensor(np.arange(np.prod(sizes), dtype=np.float64).reshape(sizes), requires_grad=True)


def test_an_element_picked_twice_gets_both_gradients():
    x = leaf(3)
    x[np.array([0, 2, 2])].backward(np.array([1.0, 10.0, 100.0]))
    assert x.grad.tolist() == [1, 0, 110]


def test_a_mask_picks_each_element_once():
    x = leaf(2, 2)
    x[x.data > 0].backward(np.array([1.0, 2.0, 3.0]))
    assert x.grad.tolist() == [[0, 1], [2, 3]]


def test_a_strided_slice():
    x = leaf(1, 1, 4, 4)
    y = x[:, :, ::2, ::2]
    assert y.data.tolist() == [[[[0, 2], [8, 10]]]]
    y.backward(np.ones((1, 1, 2, 2)))
    assert x.grad.sum() == 4 and x.grad[0, 0, 0].tolist() == [1, 0, 1, 0]


def test_joining():
    a, b = leaf(2, 2), leaf(2, 1)
    y = shape.concatenate(a, b, np.zeros((2, 1)), axis=1)
    assert y.data.tolist() == [[0, 1, 0, 0], [2, 3, 1, 0]]
    y.backward(np.arange(8.0).reshape(2, 4))
    assert a.grad.tolist() == [[0, 1], [4, 5]] and b.grad.tolist() == [[2], [6]]
    assert shape.stack(a, a, axis=-1).shape == (2, 2, 2)


def test_padding():
    x = leaf(1, 2)
    y = shape.pad(x, widths=((1, 0), (0, 2)))
    assert y.data.tolist() == [[0, 0, 0, 0], [0, 1, 0, 0]]
    y.backward(np.arange(8.0).reshape(2, 4))
    assert x.grad.tolist() == [[4, 5]]


def test_a_stretched_array_can_be_written_to():
    """NumPy's own is a read-only view, which compiled kernels take for another type."""
    for y in (shape.broadcast_to(leaf(1, 3), shape=(2, 3)), shape.broadcast_to(leaf(2, 3), shape=(2, 3))):
        assert y.data.flags.writeable and y.data.flags.c_contiguous


@pytest.mark.parametrize("call, words", [
    (lambda: shape.concatenate(leaf(2, 2), leaf(3, 1), axis=1), r"concatenate: .*\(2, 2\), float64 \(3, 1\)"),
    (lambda: shape.stack(leaf(2), leaf(3)), "stack: .*same shape"),
    (lambda: shape.transpose(leaf(2, 3), axes=(0, 0)), "transpose: repeated axis"),
    (lambda: shape.broadcast_to(leaf(2), shape=(3,)), r"broadcast_to: .*inputs: float64 \(2,\)"),
    (lambda: shape.pad(leaf(2), widths=((0, 1), (0, 1))), "pad: "),
    (lambda: leaf(2, 2)[0, 0, 0], "getitem: too many indices"),
])
def test_errors_name_the_operation_and_the_shapes(call, words):
    with pytest.raises(UsageError, match=words):
        call()
