"""Softmax cross-entropy: the bits of its reference, the textbook value, and a gradient that differences confirm."""
import numpy as np
import pytest

from tinyq import kernels
from tinyq.errors import BadInput
from tinyq.kernels.reference.reduction import cross_entropy as reference
from tinyq.streams import Streams

SHAPES = [(1, 1), (1, 10), (64, 10), (7, 33), (3, 5000), (50, 1000)]


def normal(name, *shape):
    return Streams(0).key(name).normal(shape).astype(np.float32)


def assert_same_bits(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        assert isinstance(a, np.ndarray) and isinstance(b, np.ndarray)
        assert a.shape == b.shape and a.dtype == b.dtype == np.float32
        assert np.array_equal(a.view(np.int32), b.view(np.int32))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_kernels_have_their_references_bits(shape, smoothing, threads):
    logits, labels = normal("logits", *shape) * np.float32(5), Streams(0).key("labels").integers(0, shape[1], shape[0])
    for x in (logits, logits[::-1, ::-1]):
        ours = kernels.softmax_cross_entropy(x, labels, smoothing)
        assert ours[0].shape == ()
        assert_same_bits(ours, reference.softmax_cross_entropy(x, labels, smoothing))
    g = np.asarray(np.float32(0.7))
    assert_same_bits([kernels.softmax_cross_entropy_grad(g, ours[1], labels, smoothing)],
                     [reference.softmax_cross_entropy_grad(g, ours[1], labels, smoothing)])


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_value_and_gradient(smoothing):
    stream = Streams(0).key("loss")
    x, labels = stream.normal((5, 4)), stream.integers(0, 4, 5)

    def value(x):
        return kernels.softmax_cross_entropy(x, labels, smoothing)[0]

    log_p = x - np.log(np.sum(np.exp(x), axis=1))[:, None]
    expected = -(1 - smoothing) * log_p[np.arange(5), labels] - smoothing * log_p.mean(1)
    loss, p = kernels.softmax_cross_entropy(x, labels, smoothing)
    assert np.isclose(loss, expected.mean(), rtol=1e-13) and np.allclose(p, np.exp(log_p), rtol=1e-13)
    direction = stream.normal(x.shape)
    gradient = kernels.softmax_cross_entropy_grad(np.asarray(2.0), p, labels, smoothing)
    slope = (value(x + 1e-6 * direction) - value(x - 1e-6 * direction)) / 2e-6
    assert np.isclose(np.sum(gradient * direction), 2 * slope, rtol=1e-7)


def test_large_logits_do_not_overflow():
    x = np.array([[1e30, 0, -1e30], [-200, 0, 200]], np.float32)
    loss, p = kernels.softmax_cross_entropy(x, np.array([0, 2]))
    assert loss == 0 and p.tolist() == [[1, 0, 0], [0, 0, 1]]


def test_nan_and_infinite_logits_show():
    for bad in (np.nan, np.inf):
        x = np.array([[0, bad, 1]], np.float32)
        for module in (kernels, reference):
            loss, p = module.softmax_cross_entropy(x, np.array([0]))
            assert np.isnan(loss) and np.isnan(p).any()


def test_an_impossible_class_needs_no_smoothing_term():
    loss, _ = kernels.softmax_cross_entropy(np.array([[0, -np.inf]], np.float32), np.array([0]))
    assert loss == 0


@pytest.mark.parametrize("module", [kernels, reference], ids=["kernel", "reference"])
def test_wrong_labels_are_refused(module):
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(BadInput, match="label 3 is not one of the 3 classes 0 to 2"):
        module.softmax_cross_entropy(x, np.array([0, 3]))
    with pytest.raises(BadInput, match="label -1"):
        module.softmax_cross_entropy(x, np.array([-1, 0]))
    with pytest.raises(BadInput, match="do not fit 2 samples"):
        module.softmax_cross_entropy(x, np.array([1]))
    with pytest.raises(BadInput, match="labels are float32"):
        module.softmax_cross_entropy(x, np.array([0.7, np.nan], np.float32))
    with pytest.raises(BadInput, match="empty batch"):
        module.softmax_cross_entropy(x[:0], np.array([], np.int64))
