"""Dropout with a given mask."""
import numpy as np
import pytest

from tinyq.autodiff import Tensor
from tinyq.autodiff.activations import dropout
from tinyq.errors import UsageError

MASK = np.array([True, False, True])


def test_what_stays_is_scaled_and_what_goes_is_plus_zero():
    x = Tensor(np.array([1, -2, np.inf], np.float32), requires_grad=True)
    y = dropout(x, p=0.75, mask=MASK)
    y.backward(np.array([1, -1, 2], np.float32))
    assert y.data.tolist() == [4, 0, np.inf] and x.grad.tolist() == [4, 0, 8]
    assert not np.signbit(y.data[1]) and not np.signbit(x.grad[1])


def test_the_ends():
    x = np.array([1.0, 2.0, 3.0])
    assert dropout(x, p=0.0, mask=np.ones(3, bool)).data.tolist() == [1, 2, 3]
    assert dropout(x, p=1.0, mask=np.zeros(3, bool)).data.tolist() == [0, 0, 0]


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(UsageError, match=r"dropout: the mask has shape \(3,\), not \(2, 3\); inputs: float64 \(2, 3\)"):
        dropout(np.ones((2, 3)), p=0.5, mask=MASK)
