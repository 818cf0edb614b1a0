"""Batch normalisation: what it returns, that its gradient is worked out once, errors."""
import numpy as np
import pytest

from tinyq import kernels
from tinyq.autodiff import Tensor, elementwise, normalization
from tinyq.errors import UsageError
from tinyq.streams import Streams


def normal(*shape):
    return Streams(6).key("norm", str(shape)).normal(shape)


def test_output_and_statistics():
    x, weight, bias = normal(4, 3, 2, 5), normal(3), normal(3) + 1
    y, mean, variance = normalization.batch_norm(Tensor(x, requires_grad=True), weight, bias, eps=1e-3)
    centre, spread = x.mean((0, 2, 3)), x.var((0, 2, 3))
    assert np.allclose(mean, centre) and np.allclose(variance, spread)
    normalised = (x - centre[:, None, None]) / np.sqrt(spread + 1e-3)[:, None, None]
    assert np.allclose(y.data, normalised * weight[:, None, None] + bias[:, None, None])
    assert isinstance(y, Tensor) and type(mean) is type(variance) is np.ndarray


def test_given_the_batchs_own_statistics_inference_gives_the_same():
    x, weight, bias = normal(6, 3), normal(3), normal(3)
    y, mean, variance = normalization.batch_norm(x, weight, bias, eps=1e-5)
    assert np.allclose(normalization.batch_norm_inference(x, weight, bias, mean, variance, eps=1e-5).data, y.data)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shortcut", [True, False], ids=["shortcut", "alone"])
def test_with_relu_it_gives_the_bits_of_its_parts(shortcut, dtype):
    arrays = [normal(6, 3, 4, 4), normal(3), normal(3), normal(6, 3, 4, 4)[::-1]][:4 if shortcut else 3]
    fused, parts = ([Tensor(a.astype(dtype), requires_grad=True) for a in arrays] for _ in range(2))
    y, *statistics = normalization.batch_norm_relu(*fused, *([] if shortcut else [None]), eps=1e-5)
    other, *others = normalization.batch_norm(*parts[:3], eps=1e-5)
    other = elementwise.relu(other + parts[3] if shortcut else other)
    g = normal(6, 3, 4, 4)[:, ::-1].astype(dtype)
    y.backward(g)
    other.backward(g)
    for a, b in [(y.data, other.data), *zip(statistics, others, strict=True),
                 *((a.grad, b.grad) for a, b in zip(fused, parts, strict=True))]:
        assert a.dtype == b.dtype and np.array_equal(a, b) and np.array_equal(np.signbit(a), np.signbit(b))


def test_the_three_gradients_are_worked_out_once(monkeypatch):
    calls = []
    real = kernels.batch_norm_grad
    monkeypatch.setattr(kernels, "batch_norm_grad", lambda *a: calls.append(a) or real(*a))
    x, weight, bias = (Tensor(a, requires_grad=True) for a in (normal(6, 3), normal(3), normal(3)))
    normalization.batch_norm(x, weight, bias, eps=1e-5)[0].backward(normal(6, 3))
    assert len(calls) == 1 and all(t.grad is not None for t in (x, weight, bias))


@pytest.mark.parametrize("call, words", [
    (lambda: normalization.batch_norm(normal(4, 3), normal(2), None, eps=1e-5),
     r"batch_norm: weight must be \(3,\); inputs: "),
    (lambda: normalization.batch_norm(normal(4), None, None, eps=1e-5),
     r"batch_norm: the input must be \(n, c, ...\)"),
    (lambda: normalization.batch_norm_relu(normal(4, 3), None, None, normal(4, 2), eps=1e-5),
     r"the shortcut must have the inp"),
    (lambda: normalization.batch_norm_inference(normal(4, 3), None, None, normal(2), normal(3), eps=1e-5),
     r"mean must be"),
])
def test_errors_name_the_operation_and_the_shapes(call, words):
    with pytest.raises(UsageError, match=words):
        call()
