"""Sums: 32 lanes, a tree and ascending chunks; kernel and reference have the same bits on any number of threads."""
import numpy as np
import pytest

from tinyq import kernels
from tinyq.kernels.contract import LANES, REDUCTION_CHUNK
from tinyq.kernels.reference.reduction import reduce as reference
from tinyq.streams import Streams


def spread(name, *shape):
    """Normal numbers of very different sizes, so that another order gives other bits."""
    stream = Streams(0).key(name)
    size = np.float32(10) ** (stream.uniform(shape) * 8).astype(np.float32)
    return (stream.normal(shape).astype(np.float32) * size).reshape(shape)


def assert_same_bits(a, b):
    assert isinstance(a, np.ndarray) and isinstance(b, np.ndarray)
    assert a.shape == b.shape and a.dtype == b.dtype == np.float32
    assert np.array_equal(a.view(np.int32), b.view(np.int32))


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 100, *(REDUCTION_CHUNK + k for k in (-1, 0, 1)), 50_000])
def test_flat_sum_has_its_references_bits(count, threads):
    x = spread("flat", count)
    assert_same_bits(kernels.sum(x, None), reference.sum(x, None))


@pytest.mark.parametrize("axes", [0, 1, -1, (0, 2), (1, 2), (0, 1, 2), (), [2, 0]], ids=str)
@pytest.mark.parametrize("shape", [(3, 5, 7), (1, 1, 1), (20, 30, 61), (4, 0, 3), (2, 3, 5000)], ids=str)
def test_sum_over_axes_has_its_references_bits(shape, axes, threads):
    x = spread("axes", *shape)
    assert_same_bits(kernels.sum(x, axes), reference.sum(x, axes))
    turned = x.transpose(2, 0, 1)[::-1]
    assert_same_bits(kernels.sum(turned, axes), reference.sum(turned, axes))
    numpy_axes = tuple(axes) if isinstance(axes, list) else axes
    assert np.allclose(kernels.sum(x, axes), np.sum(x.astype(np.float64), axis=numpy_axes), rtol=1e-6, atol=1e-6)


CHANNELS = [(4, 3, 5, 5), (1, 1), (64, 10), (9, 2, 33), (3, 5, 70, 70), (0, 3, 2), (2, 3, 0)]


@pytest.mark.parametrize("shape", CHANNELS, ids=str)
def test_channel_sums_has_its_references_bits(shape, threads):
    x = spread("channels", *shape)
    assert_same_bits(kernels.channel_sums(x), reference.channel_sums(x))
    assert_same_bits(kernels.channel_sums(x[..., ::-1]), reference.channel_sums(x[..., ::-1]))


def test_the_order_is_the_contracts():
    x = spread("order", 3 * LANES + 5).astype(np.float64)
    lanes = [0.0] * LANES
    for i, v in enumerate(x):
        lanes[i % LANES] += v
    while len(lanes) > 1:
        half = len(lanes) // 2
        lanes = [a + b for a, b in zip(lanes[:half], lanes[half:], strict=True)]
    assert kernels.sum(x.astype(np.float32), 0) == np.float32(lanes[0])
    assert kernels.sum(x, 0) == lanes[0]


def test_a_sum_of_negative_zeros_is_positive_zero():
    x = np.full((2, 3), -0.0, np.float32)
    for y in (kernels.sum(x, 0), reference.sum(x, 0), kernels.channel_sums(x), reference.channel_sums(x)):
        assert not np.signbit(y).any()


def test_infinities_and_nan_pass_through():
    x = np.ones((2, 40), np.float32)
    x[0, 35], x[1, 3] = np.inf, np.nan
    y = kernels.sum(x, 1)
    assert y[0] == np.inf and np.isnan(y[1])


@pytest.mark.parametrize("axes", [2, (0, 0), -3], ids=str)
def test_an_axis_that_is_not_there_or_given_twice_is_refused(axes):
    with pytest.raises(ValueError, match="axis"):
        kernels.sum(np.zeros((2, 3), np.float32), axes)
