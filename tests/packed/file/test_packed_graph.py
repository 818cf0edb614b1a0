"""The network as data: every registered one goes to JSON and back, and what has no place in a file is refused."""
import json

import numpy as np
import pytest
from packed_networks import constrained, samples
from small_models import MODELS, SHAPE, Model, small

from tinyq import functional, models, nn
from tinyq.autodiff import Tensor
from tinyq.autodiff.shape import getitem, pad, reshape, transpose
from tinyq.errors import UsageError
from tinyq.inference.fused_network import Fused
from tinyq.models import REGISTRY
from tinyq.nn import Conv2d, Linear
from tinyq.packed.file.encode_model import pack
from tinyq.packed.file.graph_json import from_json, to_json
from tinyq.packed.file.record_graph import record_graph
from tinyq.packed.float_network import FloatNetwork
from tinyq.streams import Streams

SHAPES = {"logistic": (7,), "mlp": (7,), "lenet": (1, 28, 28), "digits_cnn": (1, 8, 8), "alexnet": (3, 63, 63),
          "alexnet_bn": (3, 63, 63), "resnet56": (3, 8, 8)}
LARGE = ("alexnet", "alexnet_bn", "resnet101", "resnet152", "resnet34", "resnet50", "wide_resnet50_2",
         "resnext50_32x4d", "cifar_resnet18")                   # resnet18 stands for them


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[pytest.mark.slow] if name in LARGE else []) for name in REGISTRY])
def test_a_registered_network_goes_to_json_and_back(name):
    shape = SHAPES.get(name, (3, 32, 32))
    model = constrained(models.build(name, 10, shape))
    packed = pack(model, shape, {})
    again = from_json(json.loads(json.dumps(to_json(packed.graph))), 1 << 20)
    assert again == packed.graph and again.input_shape == shape and again.nodes[-1].shape == (10,)
    assert {node.weight.name for node in again.products()} == set(packed.tensors)
    assert set(packed.tensors) <= {name.removesuffix(".weight") for name, _ in model.named_parameters()}
    x = samples(2, shape)
    assert FloatNetwork(packed)(x).tobytes() == Fused(model)(x).tobytes()


@pytest.mark.parametrize("name", MODELS)
def test_a_hand_made_network_computes_the_same_bits_packed(name):
    packed, model = small(name), constrained(nn.constrain(MODELS[name](), "all"))
    assert from_json(json.loads(json.dumps(to_json(packed.graph))), 1 << 20) == packed.graph
    for n in (1, 3):
        x = samples(n, SHAPE)
        assert FloatNetwork(packed)(x).tobytes() == Fused(model)(x).tobytes()


def test_weights_used_twice_are_packed_for_each_product():
    packed = small("twice", "ternary")
    assert [node.weight.name for node in packed.graph.products()] == ["first", "second", "product2", "last"]
    for part in ("data", "levels", "scale"):
        assert np.array_equal(getattr(packed.tensors["second"], part), getattr(packed.tensors["product2"], part))
    assert {tensor.scheme for tensor in packed.tensors.values()} == {"b2"}


def model(forward, **layers):
    return Model(forward, first=Conv2d(3, 4, 3), last=Linear(196, 4), **layers)


def with_where(m, x):
    x = m.first(x)
    return m.last(nn.Flatten()(functional.where(np.array(True), x, x)))


def a_mean_of_the_batch(m, x):
    x = m.first(x)
    return m.last(nn.Flatten()(x - x.mean((0, 2, 3), keepdims=True)))


def with_transpose(m, x):
    return m.last(nn.Flatten()(transpose(m.first(x), axes=(0, 1, 3, 2))))


def of_the_batch_s_size(m, x):
    return m.last(nn.Flatten()(m.first(x)) + Tensor(np.float32(x.shape[0])))


def the_batch_joined(m, x):
    return reshape(m.first(x), shape=(1, -1))


def the_batch_cut(m, x):
    return m.last(nn.Flatten()(getitem(m.first(x), index=(slice(0, 1),))))


def one_index(m, x):
    return m.last(nn.Flatten()(pad(getitem(m.first(x), index=(slice(None), 0)), widths=((0, 0), (0, 0), (0, 21)))))


def the_batch_padded(m, x):
    return m.last(nn.Flatten()(pad(m.first(x), widths=((1, 0), (0, 0), (0, 0), (0, 0)))))


def not_the_last(m, x):
    y = nn.Flatten()(m.first(x))
    m.last(y)
    return y


def a_constant(m, x):
    return Tensor(np.ones((x.shape[0], 4), np.float32))


@pytest.mark.parametrize("forward, says", [
    (with_where, "computes where, which a packed file cannot hold"),
    (a_mean_of_the_batch, "cannot hold this mean of the network .it reduces the batch axis"),
    (with_transpose, "computes transpose, which a packed file cannot hold"),
    (of_the_batch_s_size, "for different batch sizes"),
    (the_batch_joined, "size of the batch|batch sizes|cannot hold"),
    (the_batch_cut, "size of the batch|batch sizes|cannot hold"),
    (one_index, "cannot hold this getitem"),
    (the_batch_padded, "cannot hold this pad"),
    (not_the_last, "computes something after its output"),
    (a_constant, "does not depend on its input"),
], ids=lambda value: getattr(value, "__name__", ""))
def test_a_network_that_cannot_be_packed_is_refused_in_a_line(forward, says):
    with pytest.raises(UsageError, match=says) as caught:
        record_graph(constrained(model(forward)), SHAPE)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("function, says", [
    (functional.gelu, "computes gelu"), (functional.softmax, "computes softmax"), (functional.sin, "computes sin"),
    (functional.layer_norm, "computes layer_norm"), (functional.round, "computes round"),
    (lambda x: functional.cumsum(x, 1), "computes cumsum"),
    (lambda x: x - x.std((1, 2, 3), keepdims=True), "computes std"),
    (lambda x: functional.minimum(x, 1), "computes minimum"), (lambda x: x.swapaxes(2, 3), "computes transpose"),
    (lambda x: x ** 1.5, "cannot hold this power of the network .the exponent 1.5"),
    (lambda x: functional.pad(x, ((0, 0), (0, 0), (1, 0), (0, 0)), 3.0)[:, :, 1:], "cannot hold this pad.*with 3.0"),
    (lambda x: x.repeat(2, 1)[:, ::2], "cannot hold this getitem"), (lambda x: x.flip(0), "cannot hold this getitem")])
def test_a_new_operation_is_refused_by_its_name(function, says):
    with pytest.raises(UsageError, match=says):
        record_graph(constrained(model(lambda m, x: m.last(nn.Flatten()(function(m.first(x)))))), SHAPE)


def test_compositions_of_what_a_file_holds_are_held():
    def forward(m, x):
        x = functional.silu(m.first(x)).flip(3)
        left, right = x.split(2, axis=1)
        x = functional.concatenate([right, left], axis=1).expand_dims(1).squeeze(1)
        return m.last(nn.Flatten()(x))

    network = constrained(model(forward))
    x = Streams(4).key("x").normal((3, *SHAPE)).astype(np.float32)
    np.testing.assert_array_equal(FloatNetwork(pack(network, SHAPE, {}))(x), Fused(network)(x))


@pytest.mark.parametrize("bits", [1, 16, 0, "8"])
def test_other_float_layer_bits_are_refused(bits):
    with pytest.raises(UsageError, match=f"float_layer_bits {bits}: choose from: 8, 32"):
        pack(constrained(model(not_the_last)), SHAPE, {}, float_layer_bits=bits)


@pytest.mark.parametrize("operation, params, says", [
    ("sum", {"axes": [], "keepdims": True}, "axes"), ("sum", {"axes": [1], "keepdims": True}, "axes"),
    ("sum", {"axes": [-1], "keepdims": True}, "axes"), ("sum", {"axes": [0, 0], "keepdims": True}, "axes"),
    ("sum", {"axes": [0], "keepdims": 1}, "keepdims"), ("sum", {"axes": [0.5], "keepdims": True}, "TypeError"),
    ("sum", {"keepdims": True}, "KeyError"), ("clip", {"low": 1.0, "high": 0.0}, "no range"),
    ("clip", {"low": float("nan"), "high": None}, "no range"), ("clip", {"low": 1e39, "high": None}, "no range"),
    ("power", {"exponent": 1e9}, "exponent"), ("power", {"exponent": 0.3}, "exponent")])
def test_a_file_with_parameters_that_do_not_fit_is_refused(operation, params, says):
    graph = to_json(small("softmax").graph)
    place = next(node for node in graph["nodes"] if node["operation"] == "sum")
    place.update(operation=operation, params=params)
    with pytest.raises(ValueError, match=says):
        from_json(graph, 1 << 20)


def test_every_reduction_and_power_computes_what_the_network_did():
    def forward(m, x):
        x = m.first(x)
        x = functional.sqrt(functional.abs(x)) + functional.maximum(x ** 2, x * 0.5)
        x = x + (x ** 0.5).max((1,), True)
        return m.last((x.sum((2, 3)) - x.mean(axis=(-2, -1)) + x.max((2, 3))) / 9)

    model = constrained(nn.constrain(Model(forward, first=Conv2d(3, 4, 3), last=Linear(4, 4)), "all"))
    packed = pack(model, SHAPE, {})
    x = Streams(3).key("x").normal((5, *SHAPE)).astype(np.float32)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(FloatNetwork(packed)(x), Fused(model)(x))
