"""The kernels against torch's float64: the float64 twins to rounding, the float32 kernels to a millionth in norm."""
import numpy as np
import pytest

from tinyq import kernels
from tinyq.streams import Streams

torch = pytest.importorskip("torch")
F = torch.nn.functional
aten = torch.ops.aten

POOLS = [   # shape, kernel, stride, padding, dilation, ceil_mode
    ((3, 6, 28, 28), 2, 2, 0, 1, False), ((2, 3, 9, 8), 3, 2, 1, 1, False), ((2, 3, 10, 7), 3, 2, 0, 1, True),
    ((1, 2, 6, 5), (3, 2), (2, 3), (1, 1), 1, True), ((2, 2, 11, 12), (3, 2), (2, 1), (1, 0), (2, 3), False),
    ((1, 2, 9, 9), 2, 3, 0, 1, False), ((2, 5, 7, 7), 7, 1, 0, 1, False), ((1, 1, 5, 5), 2, 2, 1, 1, True)]
pools = pytest.mark.parametrize("case", POOLS, ids=str)


def normal(name, *shape):
    return Streams(0).key(name).normal(shape)


def both(function, *arrays):
    """(float64 result, float32 result) of a tinyq kernel for float64 arrays; integers pass as they are."""
    def run(dtype):
        return function(*(a.astype(dtype) if a.dtype == np.float64 else a for a in arrays))

    return run(np.float64), run(np.float32)


def assert_close(ours, theirs):
    """ours (float64, float32) against torch's float64 tensor."""
    theirs = theirs.detach().numpy()
    wide, single = ours
    assert wide.shape == theirs.shape and wide.dtype == np.float64 and single.dtype == np.float32
    assert np.allclose(wide, theirs, rtol=1e-12, atol=1e-13)
    assert np.linalg.norm(single - theirs) <= 1e-6 * np.linalg.norm(theirs) + 1e-12


@pytest.mark.parametrize("name", ["exp", "log", "tanh", "sigmoid", "relu"])
def test_functions(name):
    x = np.abs(normal(name, 7, 301)) * 3 if name == "log" else normal(name, 7, 301) * 3
    assert_close(both(getattr(kernels, name), x), getattr(torch, name)(torch.tensor(x)))


@pytest.mark.parametrize("name", ["exp", "log", "tanh", "sigmoid", "relu"])
def test_special_values(name):
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -200, 200], np.float32)
    ours, theirs = getattr(kernels, name)(x), getattr(torch, name)(torch.tensor(x)).numpy()
    assert np.allclose(ours, theirs, rtol=1e-6, atol=0, equal_nan=True)


@pytest.mark.parametrize("axes", [0, (0, 2), (0, 1, 2)], ids=str)
def test_sums(axes):
    x = normal("sum", 20, 33, 17)
    assert_close(both(lambda a: kernels.sum(a, axes), x), torch.tensor(x).sum(axes))
    assert_close(both(kernels.channel_sums, x), torch.tensor(x).sum((0, 2)))


@pytest.mark.parametrize("shape", [(64, 10), (8, 3, 9, 7), (128, 16, 8, 8)], ids=str)
def test_batch_norm(shape):
    x, weight, bias, g = (normal(n, *s) for n, s in (("x", shape), ("w", shape[1:2]), ("b", shape[1:2]), ("g", shape)))
    tx, tw, tb = (torch.tensor(a, requires_grad=True) for a in (x, weight, bias))
    ty = F.batch_norm(tx, None, None, tw, tb, training=True)
    ty.backward(torch.tensor(g))

    def ours(x, weight, bias, g):
        y, mean, _, inverse_std = kernels.batch_norm(x, weight, bias, 1e-5)
        return (y, *kernels.batch_norm_grad(g, x, weight, mean, inverse_std))

    pairs = zip(*both(ours, x, weight, bias, g), strict=True)
    for pair, theirs in zip(pairs, (ty, tx.grad, tw.grad, tb.grad), strict=True):
        assert_close(pair, theirs)


def test_batch_norm_inference():
    x, weight, bias, mean, variance = normal("x", 4, 3, 5, 5), *(normal(n, 3) for n in "wbm"), np.abs(normal("v", 3))
    theirs = F.batch_norm(*map(torch.tensor, (x, mean, variance, weight, bias)))
    assert_close(both(lambda *a: kernels.batch_norm_inference(*a, 1e-5), x, weight, bias, mean, variance), theirs)


@pools
def test_max_pool(case):
    shape, *settings = case
    x = np.round(normal("max", *shape) * 2) / 2                      # many ties
    tx = torch.tensor(x, requires_grad=True)
    ty, places = F.max_pool2d(tx, *settings, return_indices=True)
    wide, single = both(lambda a: kernels.max_pool2d(a, *settings), x)
    assert_close((wide[0], single[0]), ty)
    assert np.array_equal(single[1], places.numpy()) and np.array_equal(wide[1], single[1])
    g = normal("g", *ty.shape)
    ty.backward(torch.tensor(g))
    assert_close(both(lambda a: kernels.max_pool2d_grad(a, single[1], shape), g), tx.grad)


def test_max_pool_of_nan():
    x = normal("nan", 2, 3, 8, 8).astype(np.float32)
    x[0, 1, 3, 4] = x[1, 2, 0, 0] = np.nan
    y, indices = kernels.max_pool2d(x, 3, 2, 1)
    ty, places = F.max_pool2d(torch.tensor(x), 3, 2, 1, return_indices=True)
    assert np.array_equal(y, ty.numpy(), equal_nan=True) and np.array_equal(indices, places.numpy())


@pools
@pytest.mark.parametrize("count_include_pad", [True, False])
def test_average_pool(case, count_include_pad):
    shape, kernel, stride, padding, _, ceil_mode = case
    x = normal("average", *shape)
    tx = torch.tensor(x, requires_grad=True)
    settings = kernel, stride, padding, ceil_mode, count_include_pad
    ty = F.avg_pool2d(tx, *settings)
    g = normal("g", *ty.shape)
    ty.backward(torch.tensor(g))
    assert_close(both(lambda a: kernels.avg_pool2d(a, *settings), x), ty)
    assert_close(both(lambda a: kernels.avg_pool2d_grad(a, shape, *settings), g), tx.grad)


@pytest.mark.parametrize("size", [1, (3, 2), (6, 7), (9, 5)], ids=str)
def test_adaptive_average_pool(size):
    x = normal("adaptive", 2, 3, 9, 5)
    tx = torch.tensor(x, requires_grad=True)
    ty = F.adaptive_avg_pool2d(tx, size)
    g = normal("g", *ty.shape)
    ty.backward(torch.tensor(g))
    assert_close(both(lambda a: kernels.adaptive_avg_pool2d(a, size), x), ty)
    assert_close(both(lambda a: kernels.adaptive_avg_pool2d_grad(a, x.shape, size), g), tx.grad)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy(smoothing):
    x, labels = normal("logits", 64, 10) * 4, Streams(0).key("labels").integers(0, 10, 64)
    tx = torch.tensor(x, requires_grad=True)
    loss = F.cross_entropy(tx, torch.tensor(labels), label_smoothing=smoothing)
    loss.backward()

    def ours(x):
        loss, p = kernels.softmax_cross_entropy(x, labels, smoothing)
        return loss, p, kernels.softmax_cross_entropy_grad(np.ones((), x.dtype), p, labels, smoothing)

    for pair, theirs in zip(zip(*both(ours, x), strict=True), (loss, tx.softmax(1), tx.grad), strict=True):
        assert_close(pair, theirs)
