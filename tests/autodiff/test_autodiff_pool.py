"""Pooling: the default stride, ties, what is kept for the way back, errors."""
import weakref

import numpy as np
import pytest

from tinyq.autodiff import Tensor, pooling
from tinyq.errors import UsageError


def test_the_stride_is_the_kernel_unless_given():
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    assert pooling.max_pool2d(x, kernel=2).data.tolist() == [[[[5, 7], [13, 15]]]]
    assert pooling.avg_pool2d(x, kernel=2).data.tolist() == [[[[2.5, 4.5], [10.5, 12.5]]]]
    assert pooling.max_pool2d(x, kernel=2, stride=1).shape == (1, 1, 3, 3)


def test_the_first_of_equal_maxima_gets_the_gradient():
    x = Tensor(np.ones((1, 1, 2, 2)), requires_grad=True)
    pooling.max_pool2d(x, kernel=2).backward(np.full((1, 1, 1, 1), 3.0))
    assert x.grad.tolist() == [[[[3, 0], [0, 0]]]]


@pytest.mark.parametrize("op, params", [(pooling.max_pool2d, {"kernel": 2}), (pooling.avg_pool2d, {"kernel": 2}),
                                        (pooling.adaptive_avg_pool2d, {"output_size": 1})])
def test_the_input_is_not_kept(op, params):
    x = Tensor(np.ones((1, 1, 4, 4)), requires_grad=True) * 1.0
    alive = weakref.ref(x.data)
    y = op(x, **params)
    del x
    assert y.requires_grad and alive() is None


@pytest.mark.parametrize("op, params", [(pooling.max_pool2d, {"kernel": 2}), (pooling.avg_pool2d, {"kernel": 2}),
                                        (pooling.adaptive_avg_pool2d, {"output_size": 1})])
def test_other_than_four_axes_are_refused(op, params):
    with pytest.raises(UsageError, match=rf"{op.name}: the input must be \(n, c, h, w\); inputs: float64 \(4, 4\)"):
        op(np.ones((4, 4)), **params)
