"""`convert MODEL.onnx OUT.h5`: networks are found by their graph's structure; other and hostile files are one line.

The files are written by tinyq itself and changed, which needs no package; tests/peers has those of PyTorch's exporters.
"""
import numpy as np
import pytest

from tinyq import models
from tinyq.__main__ import main
from tinyq.files.foreign import onnx_model
from tinyq.nn import BatchNorm2d
from tinyq.packed.file.encode_model import pack
from tinyq.packed.onnx.onnx_network import onnx_network
from tinyq.saved.attributes import shape_of
from tinyq.saved.graphs.model_structure import structure_of
from tinyq.saved.graphs.onnx_constants import compute
from tinyq.saved.graphs.structure_match import matched, state_from
from tinyq.saved.measure import logits_of
from tinyq.saved.model_file import load_model
from tinyq.streams import Streams

EITHER = 'True', 'False'
SHAPES = {"logistic": (5,), "mlp:7,6": (4,), "digits_cnn": (1, 8, 8), "lenet": (1, 28, 28), "resnet20": (3, 16, 16)}
SLOW = {"googlenet": (3, 32, 32), "googlenet:untransformed": (3, 32, 32), "resnet18": (3, 32, 32),
        "cifar_resnet18": (3, 16, 16), "resnet50": (3, 32, 32), "alexnet_bn": (3, 224, 224),
        "resnext50_32x4d": (3, 32, 32), "resnet56": (3, 8, 8), "resnet101": (3, 32, 32), "wide_resnet50_2": (3, 32, 32)}


def network(name, classes=3, shape=None):
    """A network whose batch norms are not the identity."""
    model = models.build(name, classes, shape or (SHAPES | SLOW)[name])
    model.initialise(Streams(0))
    for path, module in model.named_modules():
        if isinstance(module, BatchNorm2d):
            stream = Streams(1).key("norm", path)
            module.running_mean[...] = 0.1 * stream.normal(module.num_features)
            module.running_var[...] = 0.5 + stream.uniform(module.num_features)
            if module.weight is not None:
                module.weight.data[...] = 0.5 + stream.uniform(module.num_features)
                module.bias.data[...] = 0.3 * stream.normal(module.num_features)
    return model.eval()


def written(model, shape, metadata=None, weights=None):
    """The ModelProto of a network, as a file of it is read."""
    made = onnx_network(pack(model, shape, {}), "float32", weights, metadata).model
    return onnx_model.decode(onnx_model.encode_model(made), onnx_model.MODEL)


def save(path, model):
    path.write_bytes(onnx_model.encode_model(model))
    return str(path)


def close(model, other, shape):
    x = Streams(2).key("x").normal((2, *shape)).astype(np.float32)
    ours, theirs = logits_of(model, x), logits_of(other, x)
    return np.abs(ours - theirs).max() < 1e-5 * np.abs(ours).max()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Without the comparison with ONNX Runtime, which tests/peers has."""
    from tinyq.saved.onnx import onnx_runtime

    monkeypatch.setattr(onnx_runtime, "installed", lambda name: False)


@pytest.mark.parametrize("name", [*SHAPES, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_a_network_is_recognised_and_computes_the_same(tmp_path, capsys, name):
    shape = (SHAPES | SLOW)[name]
    model = network(name)
    source = save(tmp_path / "a.onnx", written(model, shape, {"model": name}))
    assert main(["convert", source, str(tmp_path / "b.h5")]) == 0
    assert f"b.h5: {name}, 3 classes" in capsys.readouterr().out
    found, attributes = load_model(tmp_path / "b.h5")
    assert attributes["model"] == name and shape_of(attributes) == shape and close(model, found, shape)


def test_integer_weights_are_scaled(tmp_path):
    shape = SHAPES["lenet"]
    model = network("lenet")
    packed = pack(model, shape, {}, float_layer_bits=8)
    made = onnx_network(packed, "float32", "int8").model
    assert main(["convert", save(tmp_path / "a.onnx", made), str(tmp_path / "b.h5")]) == 0
    weight = dict(load_model(tmp_path / "b.h5")[0].named_parameters())["conv1.weight"].data
    np.testing.assert_allclose(weight, packed.tensors["conv1"].effective(), rtol=1e-6)


def test_what_a_file_says_of_classes_and_inputs_is_kept_unless_flags_say_otherwise(tmp_path, capsys):
    metadata = {"class_names": '["a", "b", "c"]', "preprocessing": '{"mean": [0.25], "std": [2.0]}', "data": "none"}
    source = save(tmp_path / "a.onnx", written(network("lenet"), SHAPES["lenet"], metadata))
    assert main(["convert", source, str(tmp_path / "b.h5")]) == 0
    attributes = load_model(tmp_path / "b.h5")[1]
    assert attributes["class_names"] == ["a", "b", "c"] and "0.25" in attributes["preprocessing"]
    assert attributes["data"] == ""
    (tmp_path / "names.txt").write_text("x\ny\nz\n")
    flags = ["--mean", "0.5", "--std", "1", "--classes", str(tmp_path / "names.txt")]
    assert main(["convert", source, str(tmp_path / "b.h5"), *flags]) == 0
    attributes = load_model(tmp_path / "b.h5")[1]
    assert attributes["class_names"] == ["x", "y", "z"] and "0.5" in attributes["preprocessing"]


@pytest.mark.parametrize(("shape", "kept"), [("3", "numbers"), ("4", None), ("x", None)])
def test_targets_that_fit_the_outputs_are_kept(tmp_path, shape, kept):
    metadata = {"targets": "numbers", "target_shape": shape}
    source = save(tmp_path / "a.onnx", written(network("lenet"), SHAPES["lenet"], metadata))
    assert main(["convert", source, str(tmp_path / "b.h5")]) == 0
    assert load_model(tmp_path / "b.h5")[1].get("targets") == kept


@pytest.mark.parametrize("metadata", [
    {"class_names": '["a"]'}, {"class_names": "{}"}, {"class_names": "["}, {"class_names": '["a", "b", 3]'},
    {"class_names": '["a", "b", "\\n"]'}, {"preprocessing": "[]"}, {"preprocessing": '{"mean": [1], "std": [0]}'}])
def test_invalid_metadata_are_left_out(tmp_path, metadata):
    source = save(tmp_path / "a.onnx", written(network("lenet"), SHAPES["lenet"], metadata))
    assert main(["convert", source, str(tmp_path / "b.h5")]) == 0
    attributes = load_model(tmp_path / "b.h5")[1]
    assert attributes["class_names"] == ["0", "1", "2"] and "preprocessing" not in attributes


OWN = """\
from tinyq import nn

def net(classes, shape):
    return nn.Sequential(nn.Conv2d(shape[0], 4, 3, bias=BIAS), nn.BatchNorm2d(4, affine=AFFINE), nn.ReLU(),
                         nn.AvgPool2d(2), nn.Flatten(), nn.Linear(4 * 3 * 3, classes))
"""


@pytest.mark.parametrize("affine", EITHER)
@pytest.mark.parametrize("bias", EITHER)
def test_a_network_of_ones_own_is_named(tmp_path, capsys, bias, affine):
    (tmp_path / "own.py").write_text(OWN.replace("BIAS", bias).replace("AFFINE", affine))
    code = f"{tmp_path}/own.py:net"
    model = network(code, shape=(1, 8, 8))
    source = save(tmp_path / "a.onnx", written(model, (1, 8, 8)))
    assert main(["convert", source, str(tmp_path / "b.h5")]) == 65
    assert "weights have the shapes of no network that comes with tinyq; name yours" in capsys.readouterr().err
    assert main(["convert", source, str(tmp_path / "b.h5"), "--model", code]) == 0
    assert close(model, load_model(tmp_path / "b.h5", code)[0], (1, 8, 8))


def test_an_average_without_its_padding_is_read_back(tmp_path):
    """Windows that padding makes smaller are ONNX's own, without factors behind them."""
    (tmp_path / "own.py").write_text(
        "from tinyq import nn\n\ndef net(classes, shape):\n    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.AvgPool2d("
        "3, 2, 1, count_include_pad=False),\n                         nn.Flatten(), nn.Linear(4 * 3 * 3, classes))\n")
    code = f"{tmp_path}/own.py:net"
    model = network(code, shape=(1, 8, 8))
    source = save(tmp_path / "a.onnx", written(model, (1, 8, 8)))
    assert main(["convert", source, str(tmp_path / "b.h5"), "--model", code]) == 0
    assert close(model, load_model(tmp_path / "b.h5", code)[0], (1, 8, 8))


def test_batch_norms_in_the_graph_are_taken_over_to_the_bit():
    """Recorded from one network and taken over by another; a bias before one and another epsilon are made up for."""
    shape = (3, 16, 16)
    model = network("resnet20")
    own = structure_of(models.build("resnet20", 3, shape), shape)
    theirs = structure_of(model, shape)
    state = state_from(own, theirs, matched(own, theirs))
    assert all(np.array_equal(state[name], array) for name, array in model.state_dict().items()
               if not name.endswith("num_batches_tracked"))
    first = next(each for each in theirs.operations if each.kind == "conv")
    first.arrays["bias"] = np.full(16, 0.5, np.float32)
    norm = next(each for each in theirs.operations if each.kind == "batch norm")
    norm.arrays["epsilon"] = np.asarray(0.25)
    state = state_from(own, theirs, matched(own, theirs))
    np.testing.assert_allclose(state["bn1.running_mean"], norm.arrays["mean"] - 0.5, rtol=1e-6)
    np.testing.assert_allclose(state["bn1.running_var"], norm.arrays["variance"] + 0.25 - 1e-5, rtol=1e-6)


def nodes(model):
    return model["graph"]["node"]


def first(model, operation):
    return next(node for node in nodes(model) if node["op_type"] == operation)


def changed_node(operation, **changes):
    return lambda model: first(model, operation).update(changes)


def without(model, operation):
    """Leave a node out; its readers read what it read."""
    node = first(model, operation)
    nodes(model).remove(node)
    for other in nodes(model):
        other["input"] = [node["input"][0] if name == node["output"][0] else name for name in other["input"]]


def big_input(model):
    for size in model["graph"]["input"][0]["type"]["tensor_type"]["shape"]["dim"][1:]:
        size["dim_value"] = 1 << 40


def circle(model):
    nodes(model)[0]["input"][0] = nodes(model)[3]["output"][0]


def external(model):
    model["graph"]["initializer"][0].update(raw_data=None, data_location=1)


def many_zeros(model):
    """A few bytes that ask for a terabyte."""
    shape = onnx_model.tensor("huge", np.int64([1 << 20, 1 << 20]))
    model["graph"]["initializer"].append(shape)
    nodes(model).insert(0, {"op_type": "ConstantOfShape", "input": ["huge"], "output": ["z"], "attribute": [],
                            "name": "", "domain": ""})


def repeated(model):
    """Constants that double with each node."""
    name = model["graph"]["initializer"][0]["name"]
    axis = {"name": "axis", "type": 2, "i": 0}
    for k in range(40):
        nodes(model).insert(k, {"op_type": "Concat", "input": [name, name], "output": [f"c{k}"], "name": "",
                                "attribute": [axis], "domain": ""})
        name = f"c{k}"


def huge_pad(model):
    pads = onnx_model.tensor("pads", np.int64([0, 0, 1 << 40, 0, 0, 0, 0, 0]))
    model["graph"]["initializer"].append(pads)
    nodes(model).insert(0, {"op_type": "Pad", "input": ["input", "pads"], "output": ["p"], "attribute": [], "name": "",
                            "domain": ""})


def empty_constant(model):
    nodes(model).insert(0, {"op_type": "Constant", "input": [], "output": ["c"], "attribute": [], "name": "",
                            "domain": ""})


def norm_of_training(model):
    """As operator sets before 14 say it: by more outputs than one."""
    node = first(model, "Relu")
    node.update(op_type="BatchNormalization", output=[*node["output"], "mean"])


def twin(model):
    """Another array under the name of the first."""
    held = model["graph"]["initializer"][0]
    model["graph"]["initializer"].append(onnx_model.tensor(held["name"], np.zeros(3, np.float32)))


BROKEN = {
    "another operation": (changed_node("Relu", op_type="LRN"), "it computes 'LRN', which no network of tinyq does"),
    "a custom operation": (changed_node("Relu", domain="evil"), "'Relu' of 'evil', which is not of ONNX itself"),
    "a circle": (circle, "which is no value computed before it"),
    "an unknown value": (changed_node("Relu", input=["x"]), "reads 'x', which is no value"),
    "no output": (changed_node("Relu", output=[]), "its Relu has no output"),
    "twice": (lambda m: nodes(m).append(dict(nodes(m)[0])), "is computed twice"),
    "a ReLU less": (lambda m: without(m, "Relu"), "the graph has nothing like"),
    "a pooling less": (lambda m: without(m, "MaxPool"), "does not fit"),
    "a large input": (big_input, "does not fit a file of"),
    "external data": (external, "lies in another file; save the network in one file"),
    "a large constant": (many_zeros, "ConstantOfShape of constants does not fit"),
    "constants that double": (repeated, "take more memory than a file of this size"),
    "a large pad": (huge_pad, "does not fit a file of"),
    "two inputs": (lambda m: m["graph"]["input"].append(m["graph"]["output"][0]), "it has 2 inputs"),
    "an output of nothing": (lambda m: m["graph"]["output"][0].update(name="other"), "'other' is not computed"),
    "an average for a maximum": (changed_node("MaxPool", op_type="AveragePool"), "nothing like the max pooling"),
    "no attributes": (changed_node("MaxPool", attribute=[]), "a window does not fit"),
    "an attribute of another type": (changed_node("Flatten", attribute=[{"name": "axis", "type": 7, "ints": []}]),
                                     "an attribute or input of its Flatten has another type than it needs"),
    "a constant of nothing": (empty_constant, "its Constant of constants does not fit"),
    "a softmax": (changed_node("Relu", op_type="LogSoftmax"), "tinyq's end in logits; export the network without it"),
    "a batch norm of training": (norm_of_training, "export the network in evaluation, after model.eval()"),
    "two constants of a name": (twin, "two of its constants have the same name"),
    "rounded activations": (changed_node("Relu", op_type="QuantizeLinear"), "rounded to codes (QuantizeLinear)"),
    "no classifier": (lambda m: m["graph"]["output"][0].update(name=nodes(m)[0]["output"][0]), "it is no classifier"),
}


def test_a_squeeze_of_constants_without_axes_removes_all_of_size_one():
    assert compute("Squeeze", {}, [np.ones((1, 2, 1))]).shape == (2,)


@pytest.fixture(scope="module")
def lenet():
    return onnx_model.encode_model(written(network("lenet"), SHAPES["lenet"]))


@pytest.mark.parametrize("case", BROKEN)
def test_other_and_broken_graphs_are_one_line(tmp_path, capsys, lenet, case):
    change, said = BROKEN[case]
    model = onnx_model.decode(lenet, onnx_model.MODEL)
    change(model)
    assert main(["convert", save(tmp_path / "a.onnx", model), str(tmp_path / "b.h5")]) == 65
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1 and "a.onnx" in err and not (tmp_path / "b.h5").exists()


def test_any_damage_is_one_line(tmp_path, capsys, lenet):
    """Bytes changed at many places of the structure, and files cut short."""
    rng = np.random.Generator(np.random.Philox(0))
    for k in rng.integers(0, 2500, 30):                         # where the nodes are
        damaged = bytearray(lenet)
        damaged[k] ^= 1 << rng.integers(8)
        for data in (bytes(damaged), lenet[:k])[:1 + k % 2]:
            (tmp_path / "a.onnx").write_bytes(data)
            code = main(["convert", str(tmp_path / "a.onnx"), str(tmp_path / "b.h5")])
            err = capsys.readouterr().err
            assert code in (0, 65, 2) and "internal" not in err and err.count("\n") <= 1, (k, err)


def test_a_file_without_the_shape_of_its_input_asks_for_it(tmp_path, capsys):
    model = written(network("lenet"), SHAPES["lenet"])
    model["graph"]["input"][0]["type"] = None
    source = save(tmp_path / "a.onnx", model)
    assert main(["convert", source, str(tmp_path / "b.h5")]) == 2
    assert "--input-shape" in capsys.readouterr().err
    for flags in (["--input-shape", "1,28,28"], ["--data", "mnist", "--classes", "x"]):
        code = 0 if flags[0] == "--input-shape" else 65
        assert main(["convert", source, str(tmp_path / "b.h5"), *flags]) == code


def test_elsewhere_a_network_is_named_with_the_command_that_converts_it(tmp_path, capsys, lenet):
    (tmp_path / "a.onnx").write_bytes(lenet)
    for line in ("evaluate a.onnx", "convert a.onnx out.safetensors"):
        assert main(line.replace("a.onnx", str(tmp_path / "a.onnx")).split()) == 65
        assert f"a network of ONNX, not of tinyq; convert it first: python -m tinyq.convert {tmp_path}/a.onnx" in (
            capsys.readouterr().err)
