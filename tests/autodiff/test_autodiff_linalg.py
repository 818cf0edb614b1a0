"""Products: NumPy's shapes, one sum order, and the fused layer against its parts."""
import numpy as np
import pytest

from tinyq import kernels
from tinyq.autodiff import Tensor, linalg
from tinyq.errors import UsageError
from tinyq.streams import Streams


def normal(*shape, dtype=np.float32):
    return Streams(4).key("linalg", str(shape)).normal(shape).astype(dtype)


@pytest.mark.parametrize("a, b", [((3, 4), (4, 5)), ((4,), (4,)), ((4,), (4, 5)), ((3, 4), (4,)), ((2, 3, 4), (4, 5)),
                                  ((2, 3, 4), (2, 4, 5)), ((6, 1, 3, 4), (2, 4, 5)), ((4,), (2, 4, 5)),
                                  ((0, 4), (4, 5))])
def test_matmul_has_numpys_meaning(a, b):
    a, b = normal(*a, dtype=np.float64), normal(*b, dtype=np.float64)
    y = linalg.matmul(a, b).data
    assert y.shape == (a @ b).shape and np.allclose(y, a @ b, rtol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("a, b", [((2, 0), (0, 3)), ((4, 2, 0), (0, 3)), ((4, 2, 0), (4, 0, 3)), ((0,), (0, 3)),
                                  ((2, 0), (0,)), ((0,), (0,)), ((2, 3), (3, 0)), ((5, 0, 0), (0, 0)),
                                  ((0, 2, 3), (3, 4))])
def test_a_product_over_nothing_is_zero_and_has_gradients(a, b, dtype):
    a, b = (Tensor(np.ones(shape, dtype), requires_grad=True) for shape in (a, b))
    y = linalg.matmul(a, b)
    expected = np.matmul(a.data, b.data)
    assert y.data.dtype == dtype and y.shape == expected.shape and np.array_equal(y.data, expected)
    y.backward(np.ones(y.shape, dtype))
    assert a.grad.shape == a.shape and b.grad.shape == b.shape and not a.grad.any() and not b.grad.any()


def test_a_batch_has_the_bits_of_its_members():
    a, b = normal(3, 5, 300), normal(300, 4)
    y = linalg.matmul(a, b).data
    assert all(y[i].tobytes() == kernels.matmul(a[i], b).tobytes() for i in range(3))
    assert linalg.matmul(a, b[None]).data.tobytes() == y.tobytes()


def test_linear_has_the_bits_of_its_parts():
    arrays = normal(6, 300), normal(5, 300), normal(5), normal(7)[:5]
    g = normal(6, 5)

    def run(layer):
        x, w, bias = (Tensor(arrays[i], requires_grad=True) for i in (0, 1, 3))
        y = layer(x, w, arrays[2], bias)
        y.backward(g)
        return [y.data, x.grad, w.grad, bias.grad]

    for fused, parts in zip(run(linalg.linear), run(lambda x, w, scale, bias: (x @ w.transpose()) * scale + bias),
                            strict=True):
        assert fused.tobytes() == parts.tobytes()


def test_the_scaled_gradient_is_made_once(monkeypatch):
    calls = []
    real = kernels.channel_affine
    x, w = (Tensor(normal(3, 4), requires_grad=True) for _ in range(2))
    y = linalg.linear(x, w, np.ones(3, np.float32))
    monkeypatch.setattr(kernels, "channel_affine", lambda *a: calls.append(a) or real(*a))
    y.backward(np.ones((3, 3), np.float32))
    assert len(calls) == 1 and x.grad is not None and w.grad is not None


@pytest.mark.parametrize("call, words", [
    (lambda: linalg.matmul(normal(2, 3), normal(4, 5)), r"matmul: .* 3, .* 4; inputs: float32 \(2, 3\), "),
    (lambda: linalg.matmul(normal(2, 3, 4), normal(3, 4, 5)), r"matmul: .*\(2, 3, 4\), float32 \(3, 4, 5\)"),
    (lambda: linalg.matmul(normal(), normal(2)), "matmul: both inputs need at least one axis"),
    (lambda: linalg.linear(normal(2, 3), normal(4, 5)), r"linear: .*inputs: float32 \(2, 3\), float32 \(4, 5\)"),
    (lambda: linalg.linear(normal(3), normal(4, 3)), r"linear: the input must be \(n, in\)"),
    (lambda: linalg.linear(normal(2, 3), normal(4, 3), None, normal(3)), r"linear: bias must be \(4,\)"),
    (lambda: linalg.linear(normal(2, 3), normal(4, 3), normal(4, 1)), r"linear: scale must be \(4,\)"),
])
def test_errors_name_the_operation_and_the_shapes(call, words):
    with pytest.raises(UsageError, match=words):
        call()
