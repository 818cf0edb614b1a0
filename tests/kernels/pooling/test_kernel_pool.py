"""Pooling: the bits of the references, windows at every edge, and gradients that are the transposed map."""
import numpy as np
import pytest

from tinyq import kernels
from tinyq.errors import UsageError
from tinyq.kernels.reference.pooling import avg_pool as reference
from tinyq.kernels.reference.pooling import max_pool as reference_maxima
from tinyq.kernels.reference.pooling import max_pool_values as reference_values
from tinyq.streams import Streams

# shape, kernel, stride, padding, dilation, ceil_mode
WINDOWS = {
    "LeNet": ((3, 6, 28, 28), 2, 2, 0, 1, False),
    "overlapping": ((2, 3, 9, 8), 3, 2, 1, 1, False),
    "ceil": ((2, 3, 10, 7), 3, 2, 0, 1, True),
    "ceil and padding": ((1, 2, 6, 5), (3, 2), (2, 3), (1, 1), 1, True),
    "dilated": ((2, 2, 11, 12), (3, 2), (2, 1), (1, 0), (2, 3), False),
    "stride beyond the window": ((1, 2, 9, 9), 2, 3, 0, 1, False),
    "whole plane": ((2, 5, 7, 7), 7, 1, 0, 1, False),
    "one pixel": ((1, 1, 1, 1), 1, 1, 0, 1, False),
    "several threads": ((4, 9, 33, 35), 3, 2, 1, 1, False),
    "no samples": ((0, 3, 4, 4), 2, 2, 0, 1, False),
}
ADAPTIVE = [((2, 3, 7, 5), 1), ((2, 3, 7, 5), (3, 2)), ((1, 2, 4, 4), (6, 7)), ((4, 9, 33, 35), 1),
            ((4, 9, 33, 35), (6, 5))]
windows = pytest.mark.parametrize("case", WINDOWS.values(), ids=WINDOWS)
adaptive = pytest.mark.parametrize("shape, size", ADAPTIVE, ids=str)


def normal(name, *shape):
    return Streams(0).key(name).normal(shape).astype(np.float32).reshape(shape)


def assert_same_bits(a, b):
    assert a.shape == b.shape and a.dtype == b.dtype and a.dtype in (np.float32, np.int32) and a.flags.c_contiguous
    assert np.array_equal(a.view(np.int32), b.view(np.int32))


@windows
def test_max_has_its_references_bits(case, threads):
    shape, *settings = case
    x = normal("max", *shape)
    x = np.where(x < 0.2, np.float32(0), x)                          # ties, as after a ReLU
    for source in (x, normal("max", *shape[:2], shape[3], shape[2]).swapaxes(2, 3)):
        y, indices = kernels.max_pool2d(source, *settings)
        other, places = reference_maxima.max_pool2d(source, *settings)
        assert_same_bits(y, other)
        assert_same_bits(indices, places)
        planes = shape[0] * shape[1]
        places = indices.reshape(planes, y.shape[2] * y.shape[3])
        found = np.take_along_axis(source.reshape(planes, shape[2] * shape[3]), places, 1)
        assert np.array_equal(found.reshape(y.shape), y)
    g = normal("g", *y.shape)
    assert_same_bits(kernels.max_pool2d_grad(g, indices, shape), reference_maxima.max_pool2d_grad(g, indices, shape))


@windows
def test_values_alone_have_the_references_bits_and_are_the_maxima(case, threads):
    shape, *settings = case
    x = normal("max", *shape)
    x = np.where(x < 0.2, np.float32(0), x)
    for source in (x, normal("max", *shape[:2], shape[3], shape[2]).swapaxes(2, 3)):
        y = kernels.max_pool2d_values(source, *settings)
        assert_same_bits(y, reference_values.max_pool2d_values(source, *settings))
        assert_same_bits(y, reference_maxima.max_pool2d(source, *settings)[0])
        wide = source.astype(np.float64)
        assert np.array_equal(kernels.max_pool2d_values(wide, *settings), y)


@windows
def test_values_alone_of_zeros_nans_and_infinities(case, threads):
    shape, *settings = case
    x = np.array([0, -0.0, 1, -1, np.inf, -np.inf, np.nan, 1e-45], np.float32)[
        Streams(0).key("odd").integers(0, 8, shape)].reshape(shape)
    y = kernels.max_pool2d_values(x, *settings)
    assert_same_bits(y, reference_values.max_pool2d_values(x, *settings))
    assert np.array_equal(y, reference_maxima.max_pool2d(x, *settings)[0], equal_nan=True)


@windows
@pytest.mark.parametrize("count_include_pad", [True, False])
def test_average_has_its_references_bits(case, count_include_pad, threads):
    shape, kernel, stride, padding, _, ceil_mode = case
    if max(np.atleast_1d(padding)) > min(np.atleast_1d(kernel)) // 2:
        padding = 0
    settings = kernel, stride, padding, ceil_mode, count_include_pad
    x = normal("average", *shape)
    y = kernels.avg_pool2d(x, *settings)
    assert_same_bits(y, reference.avg_pool2d(x, *settings))
    g = normal("g", *y.shape)
    assert_same_bits(kernels.avg_pool2d_grad(g, shape, *settings), reference.avg_pool2d_grad(g, shape, *settings))


@adaptive
def test_adaptive_has_its_references_bits(shape, size, threads):
    x = normal("adaptive", *shape)
    y = kernels.adaptive_avg_pool2d(x, size)
    assert_same_bits(y, reference.adaptive_avg_pool2d(x, size))
    assert_same_bits(kernels.adaptive_avg_pool2d(x[..., ::-1], size), reference.adaptive_avg_pool2d(x[..., ::-1], size))
    g = normal("g", *y.shape)[::-1]
    assert_same_bits(kernels.adaptive_avg_pool2d_grad(g, shape, size),
                     reference.adaptive_avg_pool2d_grad(g, shape, size))


@windows
def test_average_gradient_is_the_transposed_map(case):
    shape, kernel, stride, padding, dilation, ceil_mode = case
    if dilation != 1:
        return
    for count_include_pad in (True, False):
        settings = kernel, stride, padding, ceil_mode, count_include_pad
        x = normal("x", *shape).astype(np.float64)
        y = kernels.avg_pool2d(x, *settings)
        g = normal("g", *y.shape).astype(np.float64)
        assert np.isclose(np.sum(g * y), np.sum(kernels.avg_pool2d_grad(g, shape, *settings) * x), rtol=1e-12)


@adaptive
def test_adaptive_gradient_is_the_transposed_map(shape, size):
    x = normal("x", *shape).astype(np.float64)
    y = kernels.adaptive_avg_pool2d(x, size)
    g = normal("g", *y.shape).astype(np.float64)
    assert np.isclose(np.sum(g * y), np.sum(kernels.adaptive_avg_pool2d_grad(g, shape, size) * x), rtol=1e-12)


@pytest.mark.parametrize("module", [kernels, reference_maxima], ids=["kernel", "reference"])
def test_first_of_equals_wins_and_nan_beats_numbers(module):
    x = np.array([[[[1, 5, 5, 2], [5, 0, 2, 2]]]], np.float32)
    y, indices = module.max_pool2d(x, 2, 2, 0)
    assert y.tolist() == [[[[5, 5]]]] and indices.tolist() == [[[[1, 2]]]]
    x[0, 0, 1, 0] = np.nan
    y, indices = module.max_pool2d(x, 2, 2, 0)
    assert np.isnan(y[0, 0, 0, 0]) and indices[0, 0, 0, 0] == 4
    y, indices = module.max_pool2d(np.full((1, 1, 3, 3), -np.inf, np.float32), 3, 2, 1)
    assert (y == -np.inf).all() and indices.tolist() == [[[[0, 1], [3, 4]]]]


@pytest.mark.parametrize("settings", [(5, 1, 0), (2, 1, 2), (2, 0, 0), (0, 1, 0), (2, 2, -1), (3, 1, 0, 2)], ids=str)
def test_a_window_that_does_not_fit_is_refused(settings):
    with pytest.raises(UsageError, match="pooling"):
        kernels.max_pool2d(np.zeros((1, 1, 4, 4), np.float32), *settings)


def test_a_window_without_any_element_is_refused():
    with pytest.raises(UsageError, match="does not fit"):
        kernels.max_pool2d(np.zeros((1, 1, 1, 1), np.float32), 2, 1, 1, 2)
    with pytest.raises(UsageError, match="adaptive"):
        kernels.adaptive_avg_pool2d(np.zeros((1, 1, 1, 0), np.float32), 1)
