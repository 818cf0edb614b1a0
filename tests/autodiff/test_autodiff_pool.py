"""Pooling: the default stride, ties, what is kept for the way back, errors."""
import weakref

import numpy as np
import pytest

from tinyq import nn
from tinyq.autodiff import Tensor, pooling
from tinyq.errors import UsageError


def test_the_stride_is_the_kernel_unless_given():
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    assert pooling.max_pool2d(x, kernel=2).data.tolist() == [[[[5, 7], [13, 15]]]]
    assert pooling.avg_pool2d(x, kernel=2).data.tolist() == [[[[2.5, 4.5], [10.5, 12.5]]]]
    assert pooling.max_pool2d(x, kernel=2, stride=1).shape == (1, 1, 3, 3)


@pytest.mark.parametrize("one", [(2,), [2], [2, 2]], ids=str)
def test_a_size_may_stand_alone_in_a_tuple_or_list_as_in_torch(one):
    x = np.random.Generator(np.random.Philox(3)).standard_normal((1, 2, 6, 6)).astype(np.float32)
    net, same = ([nn.MaxPool2d(size, size, padding=0), nn.AvgPool2d(size), nn.AdaptiveAvgPool2d(size)]
                 for size in (one, 2))
    for a, b in zip(net, same, strict=True):
        assert np.array_equal(a(Tensor(x)).data, b(Tensor(x)).data)
    conv = nn.Conv2d(2, 3, one, stride=one, padding=one, dilation=one)
    assert conv.weight.shape == (3, 2, 2, 2) and conv(Tensor(x)).shape == (1, 3, 4, 4)


def test_a_size_of_three_is_refused():
    with pytest.raises(UsageError, match=r"kernel \(1, 2, 3\) must be a whole number or a pair of them"):
        pooling.max_pool2d(np.ones((1, 1, 4, 4), np.float32), kernel=(1, 2, 3))


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
