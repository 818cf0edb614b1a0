"""relu, its gradient, add and the per-channel affine have the bits of their references."""
import numpy as np
import pytest

from tinyq import kernels
from tinyq.kernels.reference.elementwise import activation as reference
from tinyq.streams import Streams

SHAPES = [(), (1,), (0, 3), (5, 7), (2, 3, 4, 5), (4, 3, 57, 61)]        # the last on several threads
AFFINE_SHAPES = [(1, 1), (0, 3), (64, 10), (2, 3, 4, 5), (3, 5, 1, 1), (2, 3, 0), (4, 3, 57, 61), (40_000, 2)]


def normal(name, *shape):
    return Streams(0).key(name).normal(shape).astype(np.float32).reshape(shape)


def assert_same_bits(a, b):
    assert a.shape == b.shape and a.dtype == b.dtype == np.float32 and a.flags.c_contiguous and b.flags.c_contiguous
    assert np.array_equal(a.view(np.int32), b.view(np.int32))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_elementwise_kernels_have_their_references_bits(shape, threads):
    a, b = normal("a", *shape), normal("b", *shape)
    for x, y in ((a, b), (a.T, b.T), (a[..., ::-1], b[..., ::-1]) if a.ndim else (a, b)):
        assert_same_bits(kernels.relu(x), reference.relu(x))
        assert_same_bits(kernels.relu_grad(x, y), reference.relu_grad(x, y))
        assert_same_bits(kernels.add(x, y), reference.add(x, y))


@pytest.mark.parametrize("shape", AFFINE_SHAPES, ids=str)
def test_affine_has_its_references_bits(shape, threads):
    x, scale, shift = normal("x", *shape), normal("scale", shape[1]), normal("shift", shape[1])
    for s, b in ((scale, shift), (None, shift), (scale, None), (None, None), (normal("s", shape[1] * 2)[::2], shift)):
        assert_same_bits(kernels.channel_affine(x, s, b), reference.channel_affine(x, s, b))
    flipped = x[::-1, ...]
    assert_same_bits(kernels.channel_affine(flipped, scale, shift), reference.channel_affine(flipped, scale, shift))


def test_affine_without_scale_and_shift_keeps_every_bit():
    x = np.array([[0.0, -0.0, 1e-45, np.inf]], np.float32)
    assert_same_bits(kernels.channel_affine(x, None, None), x)


def test_relu_makes_positive_zeros_and_keeps_nan():
    x = np.array([-1, -0.0, 0.0, 2, -np.inf, np.inf], np.float32)
    for relu in (kernels.relu, reference.relu):
        y = relu(x)
        assert y.tolist() == [0, 0, 0, 2, 0, np.inf] and not np.signbit(y).any()
        assert np.isnan(relu(np.array([np.nan], np.float32)))
        assert not np.signbit(kernels.relu_grad(-np.ones(6, np.float32), y)[:3]).any()


def test_float64_and_inputs_untouched():
    x = np.linspace(-1, 1, 6).reshape(2, 3)
    before = x.copy()
    assert kernels.relu(x).dtype == kernels.channel_affine(x, x[0], None).dtype == np.float64
    copied = kernels.channel_affine(x, None, None)
    copied[:] = 7
    assert np.array_equal(x, before)
