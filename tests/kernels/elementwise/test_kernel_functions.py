"""exp, log, tanh and sigmoid: within 2 units in the last place of float64, and the bits of their references."""
import numpy as np
import pytest

from tinyq import kernels
from tinyq.kernels.reference.elementwise import functions as reference
from tinyq.streams import Streams

NAMES = ["exp", "log", "tanh", "sigmoid"]
SPECIAL = np.array([
    0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 1.1754944e-38, 1.1754942e-38, 3.4028235e38, -3.4028235e38,
    88.72283, 88.72284, -87.33655, -103.97207, -103.97208, -104.5, 89.0,                                    # exp
    0.625, -0.625, 9.1, 1.0, 0.70710677, 0.70710678, 0.99999994, 1.0000001], np.float32)


def exact(name, x):
    x = x.astype(np.float64)
    with np.errstate(all="ignore"):
        if name == "sigmoid":
            z = np.exp(-np.abs(x))
            return np.where(x < 0, z, 1) / (1 + z)
        return getattr(np, name)(x)


def every(step):
    """Every step-th float32 of all 2**32 bit patterns but NaNs."""
    x = np.arange(0, 2**32, step, dtype=np.int64).astype(np.uint32).view(np.float32)
    return x[~np.isnan(x)]


def assert_same_bits(a, b):
    assert a.shape == b.shape and a.dtype == b.dtype == np.float32
    both_nan = np.isnan(a) & np.isnan(b)                          # NaN payloads are outside the promise
    assert np.array_equal(a.view(np.int32)[~both_nan], b.view(np.int32)[~both_nan])


def assert_within_2_ulp(name, x):
    y, truth = getattr(kernels, name)(x).astype(np.float64), exact(name, x)
    with np.errstate(over="ignore"):
        representable = np.isfinite(truth.astype(np.float32))
        assert np.array_equal(y[~representable], truth[~representable].astype(np.float32), equal_nan=True)
    y, truth = y[representable], truth[representable]
    ulp = np.ldexp(1.0, np.maximum(np.frexp(truth)[1] - 1, -126) - 23)
    assert np.all(np.abs(y - truth) <= 2 * ulp)
    zero = truth == 0
    assert np.array_equal(np.signbit(y[zero]), np.signbit(truth[zero]))


@pytest.mark.parametrize("name", NAMES)
def test_within_2_ulp_over_the_whole_range(name):
    assert_within_2_ulp(name, every(4999))
    assert_within_2_ulp(name, SPECIAL)
    assert_within_2_ulp(name, np.linspace(-20, 20, 200_001, dtype=np.float32))
    assert_within_2_ulp(name, np.linspace(-110, -85, 50_001, dtype=np.float32))       # where exp turns subnormal
    assert_within_2_ulp(name, np.linspace(0.5, 2, 100_001, dtype=np.float32))         # where log passes 0


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_within_2_ulp_for_every_97th_float32(name):
    assert_within_2_ulp(name, every(97))


@pytest.mark.parametrize("name", NAMES)
def test_a_function_has_its_references_bits(name, threads):
    for x in (every(30_011), SPECIAL, np.linspace(-12, 12, 40_001, dtype=np.float32)):
        assert_same_bits(getattr(kernels, name)(x), getattr(reference, name)(x))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0, 2), (7, 5), (2, 3, 4, 5)])
def test_shapes_and_strides(name, shape):
    x = np.abs(Streams(0).key(name).normal(shape).astype(np.float32).reshape(shape))
    y = getattr(kernels, name)(x)
    assert isinstance(y, np.ndarray) and y.flags.c_contiguous
    assert_same_bits(y, getattr(reference, name)(x))
    assert_same_bits(getattr(kernels, name)(x.T), np.asarray(getattr(reference, name)(x).T))
    if x.ndim:
        assert_same_bits(getattr(kernels, name)(x[..., ::-2]), getattr(reference, name)(x)[..., ::-2])


@pytest.mark.parametrize("name", NAMES)
def test_float64_stays_float64(name):
    x = np.linspace(0.1, 3, 11)
    y = getattr(kernels, name)(x)
    assert y.dtype == np.float64
    assert np.allclose(y, exact(name, x.astype(np.float64)), rtol=1e-15)


def test_an_edge_of_each():
    f = np.float32
    assert kernels.exp(f([-np.inf, np.inf, 0]))[:2].tolist() == [0, np.inf]
    assert kernels.log(f([0, -0.0, np.inf])).tolist() == [-np.inf, -np.inf, np.inf]
    assert np.isnan(kernels.log(f([-1, -np.inf, np.nan]))).all()
    assert kernels.tanh(f([-np.inf, 20])).tolist() == [-1, 1]
    assert np.signbit(kernels.tanh(f([-0.0]))[0])
    assert kernels.sigmoid(f([-np.inf, np.inf, 0])).tolist() == [0, 1, 0.5]
    assert 0 < kernels.sigmoid(f([-100]))[0] < 1e-42                 # a subnormal, not 0
