"""Packed networks written as ONNX, beside tinyq in ONNX Runtime: every operation, both forms of activations."""
import dataclasses

import numpy as np
import pytest
from packed_networks import SHAPES, packed, samples
from small_models import MODELS, SHAPE, Model, small

from tinyq import functional, nn
from tinyq.errors import UsageError
from tinyq.files.foreign import onnx_model
from tinyq.packed.file.encode_model import pack
from tinyq.packed.integer.lowering import lower
from tinyq.packed.integer.numpy_executor import NumpyExecutor
from tinyq.packed.network import PackedNetwork
from tinyq.packed.onnx.onnx_network import onnx_network
from tinyq.streams import Streams

onnx = pytest.importorskip("onnx", reason="onnx is not installed: its files are not checked")
runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: nothing to compare with")
CLOSE = 2e-6                            # of the largest output


def run(network, x, optimised=True):
    """The outputs of a network in ONNX Runtime, after onnx.checker."""
    data = onnx_model.encode_model(network.model)
    onnx.checker.check_model(data, full_check=True)
    options = runtime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    if not optimised:
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"]).run(None, {"input": x})[0]


def apart(ours, theirs):
    return np.abs(ours - theirs).max() / np.abs(ours).max()


@pytest.fixture(scope="module", params=MODELS)
def network(request):
    return small(request.param)


def test_every_operation_in_float(network):
    x = samples(5, SHAPE, 7)
    ours = PackedNetwork(network)(x)
    for weights in ("float32", "int8", "int4"):
        assert apart(ours, run(onnx_network(network, "float32", weights), x)) < CLOSE


def test_every_operation_on_codes(network):
    """As the file says it, to the code; ONNX Runtime's joined products round biases to whole steps."""
    x = samples(5, SHAPE, 7)
    ours = NumpyExecutor(lower(network, "int8"), PackedNetwork(network)._floats.node)(x)
    written = onnx_network(network, "int8")
    assert apart(ours, run(written, x, optimised=False)) < CLOSE
    assert apart(ours, run(written, x)) < 0.02


@pytest.mark.parametrize("name", ["mlp:20,8", "digits_cnn", "lenet", "resnet20",
                                  *(pytest.param(name, marks=pytest.mark.slow) for name in
                                    ("resnet18", "googlenet", "alexnet"))])
@pytest.mark.parametrize("bits", [8, 32])
def test_registered_networks(name, bits):
    network, x = packed(name, "ternary", bits), samples(8, SHAPES[name], 7)
    assert apart(PackedNetwork(network)(x), run(onnx_network(network), x)) < CLOSE
    ours, theirs = PackedNetwork(network, "int8")(x), run(onnx_network(network, "int8"), x)
    assert apart(ours, theirs) < 0.03 and (ours.argmax(1) == theirs.argmax(1)).mean() > 0.8


@pytest.mark.parametrize("activations", ["float32", "int8"])
@pytest.mark.parametrize("levels, weights", [("binary", "int2"), ("ternary", "int2"), ("shift1", "int4"),
                                             ("shift2", "int4"), ("shift2", "int2")])
def test_weights_take_the_narrowest_type_that_holds_their_levels(levels, weights, activations):
    network, x = packed("digits_cnn", levels), samples(4, SHAPES["digits_cnn"], 7)
    written = onnx_network(network, activations, weights)
    held = {each["name"]: each["data_type"] for each in written.model["graph"]["initializer"]}
    fits = weights == "int2" and levels in ("binary", "ternary")
    assert held["conv2.levels"] == (onnx_model.INT2 if fits else onnx_model.INT4)
    assert held["conv1.levels"] == onnx_model.UINT8                 # 8 bits: other kernels than for signed ones
    if written.model["opset_import"][0]["version"] <= onnx.defs.onnx_opset_version():
        assert apart(PackedNetwork(network, activations)(x), run(written, x)) < 0.02


def test_equal_networks_give_equal_bytes():
    first, second = (onnx_model.encode_model(onnx_network(small("groups"), "int8", metadata={"b": "1", "a": "2"}).model)
                     for _ in range(2))
    assert first == second


def normed(m, x):
    """A batch norm that no product takes in, without weights, and a power."""
    return m.last(nn.Flatten()((m.norm(nn.MaxPool2d(3)(m.first(x))) ** 2 + 0.5) ** 0.5))


def reduced(m, x):
    """Sums and extremes, elementwise functions, and moves backwards."""
    x = m.first(x)
    x = x[:, ::-1, 5:0:-2, :3].tanh() + (-x).sigmoid()[:, :, :3, 3:6] * x.abs()[:, :, :3, :3]
    return m.last(functional.maximum(x.sum(3) - x.max((1,), keepdims=True).mean(3), 0.1).reshape(x.shape[0], -1))


def odd_pools(m, x):
    """Windows that reach beyond the plane by more than they are wide, and uneven ones."""
    x = nn.MaxPool2d(2, 2, 3, dilation=6)(m.first(x))
    x = nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=True)(x)
    return m.last(nn.Flatten()(nn.AdaptiveAvgPool2d((3, 2))(x)))


RARE = {"normed": lambda: Model(normed, first=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4, affine=False),
                                last=nn.Linear(16, 4)),
        "reduced": lambda: Model(reduced, first=nn.Conv2d(3, 4, 3), last=nn.Linear(12, 4)),
        "odd pools": lambda: Model(odd_pools, first=nn.Conv2d(3, 4, 3, padding=1), last=nn.Linear(24, 4))}


@pytest.mark.parametrize("name", RARE)
def test_rare_operations(name):
    model = RARE[name]().initialise(Streams(0))
    network, x = pack(model.eval(), SHAPE, {}), samples(3, SHAPE, 7)
    assert apart(PackedNetwork(network)(x), run(onnx_network(network), x)) < CLOSE


@pytest.mark.parametrize("options, said", [
    (("int4",), "activations int4: .*float32, int8"), (("int8", "int5"), "weights int5: .*int4"),
    (("int8", "float32"), "weights float32: activations int8 need integers")])
def test_forms_that_do_not_exist_are_refused(options, said):
    with pytest.raises(UsageError, match=said):
        onnx_network(small("residual"), *options)


def test_levels_that_are_no_integers_stay_float():
    network = packed("digits_cnn", "-0.7,0.1,1")
    onnx_network(network)
    with pytest.raises(UsageError, match="levels that are not k [*] 2.n"):
        onnx_network(network, "float32", "int8")


def test_a_row_without_a_factor_is_its_bias_alone():
    """As behind a batch norm whose weight is 0, or so small that the bias is beyond 32 bits of its steps."""
    network = small("residual")
    tensor = network.tensors["first"]
    affine = tensor.affine.copy()
    affine[:, 0], affine[:, 1], affine[0, 2] = (0, 0.5), (1e-30, 0.25), -affine[0, 2]
    changed = network.tensors | {"first": dataclasses.replace(tensor, affine=affine)}
    network, x = dataclasses.replace(network, tensors=changed, golden={}), samples(3, SHAPE, 7)
    assert apart(PackedNetwork(network, "int8")(x), run(onnx_network(network, "int8"), x)) < 0.02
