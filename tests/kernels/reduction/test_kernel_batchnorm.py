"""Batch normalisation: the bits of the reference, its own formulas, and a gradient that differences confirm."""
import numpy as np
import pytest

from tinyq import kernels
from tinyq.kernels.reference.reduction import batchnorm as reference
from tinyq.streams import Streams

SHAPES = [(4, 3, 5, 5), (1, 1, 2, 2), (64, 10), (2, 1), (9, 2, 33), (3, 5, 70, 70), (128, 16, 8, 8), (2, 3, 1, 1)]
EPS = 1e-5


def normal(name, *shape):
    return Streams(0).key(name).normal(shape).astype(np.float32)


def assert_same_bits(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype == np.float32 and a.flags.c_contiguous
        assert np.array_equal(a.view(np.int32), b.view(np.int32))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain"])
def test_kernels_have_their_references_bits(shape, affine, threads):
    x = normal("x", *shape) * np.float32(3) + np.float32(1.5)
    weight, bias = (normal("w", shape[1]), normal("b", shape[1])) if affine else (None, None)
    ours = kernels.batch_norm(x, weight, bias, EPS)
    assert_same_bits(ours, reference.batch_norm(x, weight, bias, EPS))
    _, mean, variance, inverse_std = ours
    g = normal("g", *shape)
    assert_same_bits(kernels.batch_norm_grad(g, x, weight, mean, inverse_std),
                     reference.batch_norm_grad(g, x, weight, mean, inverse_std))
    assert_same_bits([kernels.batch_norm_inference(x, weight, bias, mean, variance, EPS)],
                     [reference.batch_norm_inference(x, weight, bias, mean, variance, EPS)])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("shortcut", [True, False], ids=["shortcut", "alone"])
def test_kernels_with_relu_have_their_references_bits(shape, shortcut, threads):
    x, g, weight, bias = normal("x", *shape), normal("g", *shape), normal("w", shape[1]), normal("b", shape[1])
    added = normal("s", *shape) if shortcut else None
    ours = kernels.batch_norm_relu(x, weight, bias, added, EPS)
    assert_same_bits(ours, reference.batch_norm_relu(x, weight, bias, added, EPS))
    y, mean, _, inverse_std, affine = ours
    y = y if shortcut else None
    read_only = g.copy()
    read_only.flags.writeable = False
    gradients = kernels.batch_norm_relu_grad(g, y, affine, x, weight, mean, inverse_std)
    others = reference.batch_norm_relu_grad(g, y, affine, x, weight, mean, inverse_std)
    assert (gradients[3] is None) == (others[3] is None) == (not shortcut)
    for theirs in (others, kernels.batch_norm_relu_grad(read_only, y, affine, x, weight, mean, inverse_std)):
        assert_same_bits(gradients[:3 + shortcut], theirs[:3 + shortcut])


def test_any_strides():
    x, g = normal("x", 6, 5, 4, 3).transpose(3, 1, 0, 2), normal("g", 3, 5, 6, 4)[..., ::-1]
    weight, bias = normal("w", 10)[::2], normal("b", 5)
    ours = kernels.batch_norm(x, weight, bias, EPS)
    assert_same_bits(ours, reference.batch_norm(x, weight, bias, EPS))
    assert_same_bits(kernels.batch_norm_grad(g, x, weight, ours[1], ours[3]),
                     kernels.batch_norm_grad(g.copy(), x.copy(), weight.copy(), ours[1], ours[3]))


def test_training_and_inference_share_their_arithmetic():
    """With a mean and a variance that float32 holds exactly, the two give the same bits."""
    x = np.tile(np.array([-1, 3], np.float32), (4, 2, 8))
    weight, bias = normal("w", 2), normal("b", 2)
    y, mean, variance, _ = kernels.batch_norm(x, weight, bias, EPS)
    assert mean.tolist() == [1, 1] and variance.tolist() == [4, 4]
    assert_same_bits([y], [kernels.batch_norm_inference(x, weight, bias, mean, variance, EPS)])


def test_inference_keeps_the_signs_of_zeros():
    x, zeros = np.array([[-0.0, 0.0], [0.0, -0.0]], np.float32), np.zeros(2, np.float32)
    for bias in (None, zeros, -zeros):
        for mean in (zeros, -zeros):
            arguments = x, None, bias, mean, zeros, EPS
            assert_same_bits([kernels.batch_norm_inference(*arguments)], [reference.batch_norm_inference(*arguments)])


def test_normalises_despite_a_mean_far_from_zero():
    x = (normal("far", 64, 2, 16, 16) + np.float32(1000)).astype(np.float32)
    y, mean, variance, _ = kernels.batch_norm(x, None, None, EPS)
    wide = x.astype(np.float64)
    assert np.allclose(mean, wide.mean((0, 2, 3)), rtol=1e-7)
    assert np.allclose(variance, wide.var((0, 2, 3)), rtol=1e-6)
    assert np.abs(y.mean((0, 2, 3))).max() < 1e-3


def test_gradient_is_the_derivative():
    stream = Streams(0).key("derivative")
    x, g, weight, bias = stream.normal((3, 2, 4)), stream.normal((3, 2, 4)), stream.normal(2), stream.normal(2)

    def objective(x, weight, bias):
        return np.sum(g * kernels.batch_norm(x, weight, bias, EPS)[0])

    _, mean, _, inverse_std = kernels.batch_norm(x, weight, bias, EPS)
    gradients = kernels.batch_norm_grad(g, x, weight, mean, inverse_std)
    for k, (value, gradient) in enumerate(zip((x, weight, bias), gradients, strict=True)):
        direction = stream.normal(value.shape)
        step = [np.zeros_like(v) for v in (x, weight, bias)]
        step[k] = direction * 1e-5
        rise = objective(x + step[0], weight + step[1], bias + step[2])
        fall = objective(x - step[0], weight - step[1], bias - step[2])
        assert np.isclose((rise - fall) / 2e-5, np.sum(gradient * direction), rtol=1e-7)
