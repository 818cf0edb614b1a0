"""Convolution: the fused affine against its parts, what is not computed, errors."""
import numpy as np
import pytest

from tinyq import kernels
from tinyq.autodiff import Tensor, convolution
from tinyq.errors import UsageError
from tinyq.streams import Streams


def normal(*shape):
    return Streams(5).key("conv", str(shape)).normal(shape).astype(np.float32)


def test_the_affine_has_the_bits_of_its_parts():
    arrays = normal(3, 4, 7, 6), normal(6, 2, 3, 3), normal(6), normal(7)[:6]
    geometry = {"stride": 2, "padding": 1, "groups": 2}
    g = normal(3, 6, 4, 3)

    def run(layer):
        x, w, bias = (Tensor(arrays[i], requires_grad=True) for i in (0, 1, 3))
        y = layer(x, w, arrays[2], bias)
        y.backward(g)
        return [y.data, x.grad, w.grad, bias.grad]

    def parts(x, w, scale, bias):
        return convolution.conv2d(x, w, **geometry) * scale[:, None, None] + bias.reshape(-1, 1, 1)

    for fused, separate in zip(run(lambda *a: convolution.conv2d(*a, **geometry)), run(parts), strict=True):
        assert fused.tobytes() == separate.tobytes()


def test_the_first_layer_computes_no_input_gradient(monkeypatch):
    monkeypatch.setattr(kernels, "conv2d_input_grad", lambda *a: pytest.fail("nobody asked"))
    w = Tensor(normal(2, 3, 3, 3), requires_grad=True)
    convolution.conv2d(Tensor(normal(1, 3, 5, 5)), w).backward(normal(1, 2, 3, 3))
    assert w.grad.shape == w.shape


def test_the_scaled_gradient_is_made_once(monkeypatch):
    calls = []
    real = kernels.channel_affine
    x, w = Tensor(normal(1, 3, 5, 5), requires_grad=True), Tensor(normal(2, 3, 3, 3), requires_grad=True)
    y = convolution.conv2d(x, w, normal(2))
    monkeypatch.setattr(kernels, "channel_affine", lambda *a: calls.append(a) or real(*a))
    y.backward(normal(1, 2, 3, 3))
    assert len(calls) == 1


@pytest.mark.parametrize("x, w, more, words", [
    ((1, 3, 5, 5), (2, 4, 3, 3), (), "conv2d: "),
    ((1, 3, 2, 2), (2, 3, 3, 3), (), "conv2d: "),
    ((3, 5, 5), (2, 3, 3, 3), (), "conv2d: "),
    ((1, 3, 5, 5), (2, 3, 3, 3), ((3,),), r"conv2d: scale must be \(2,\); inputs: float32 \(1, 3, 5, 5\)"),
    ((1, 3, 5, 5), (2, 3, 3, 3), ((2,), (1,)), r"conv2d: bias must be \(2,\)"),
])
def test_errors_name_the_operation_and_the_shapes(x, w, more, words):
    with pytest.raises(UsageError, match=words) as error:
        convolution.conv2d(normal(*x), normal(*w), *(normal(*shape) for shape in more))
    assert "\n" not in str(error.value)
