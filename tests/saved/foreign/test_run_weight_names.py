"""Names of weights in other programs, for the networks that tinyq has."""
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyq import models
from tinyq.errors import BadInput, UsageError
from tinyq.files import hdf5, safetensors
from tinyq.saved.foreign import names as weight_names
from tinyq.saved.foreign.choice import open_foreign, weights_for


def small(name, size=32, channels=3):
    """The names of a network, each with a small array that is like no other, of as many axes."""
    own = models.build(name, 2, (channels, size, size)).state_dict()
    return {key: np.full((1,) * array.ndim, k, array.dtype) for k, (key, array) in enumerate(own.items())}


RESNET, ALEXNET, GOOGLENET = small("resnet50"), small("alexnet", 64), small("googlenet")


def as_transformers(name):
    name = re.sub(r"^fc\.", "classifier.1.", name)
    name = re.sub(r"^conv1\.", "resnet.embedder.embedder.convolution.", name)
    name = re.sub(r"^bn1\.", "resnet.embedder.embedder.normalization.", name)
    name = re.sub(r"^layer(\d)\.(\d+)\.", lambda m: f"resnet.encoder.stages.{int(m[1]) - 1}.layers.{m[2]}.", name)
    name = re.sub(r"\.conv(\d)\.", lambda m: f".layer.{int(m[1]) - 1}.convolution.", name)
    name = re.sub(r"\.bn(\d)\.", lambda m: f".layer.{int(m[1]) - 1}.normalization.", name)
    name = name.replace(".downsample.0.", ".shortcut.convolution.")
    return name.replace(".downsample.1.", ".shortcut.normalization.")


FORMS = {
    "torchvision, timm": (RESNET, str),
    **{prefix: (RESNET, lambda name, prefix=prefix: prefix + name) for prefix in (
        "module.", "model.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod.", "model._orig_mod.", "timm_model.",
        "net.backbone.", "module.module.", "ema_model.module.")},
    "DataParallel of the features": (ALEXNET, lambda name: name.replace("features.", "features.module.")),
    "all of it once more": (ALEXNET, lambda name: "module." + name.replace("features.", "features.module.")),
    "layers compiled one by one": (RESNET, lambda name: re.sub(r"^(layer\d)\.", r"\1._orig_mod.", name)),
    "GoogLeNet": (GOOGLENET, lambda name: "model." + name),
    "transformers": (RESNET, as_transformers),
    "transformers, parallel": (RESNET, lambda name: "module." + as_transformers(name)),
    "pytorch-cifar": (RESNET, lambda n: "module." + n.replace(".downsample.", ".shortcut.").replace("fc.", "linear.")),
    "OpenMMLab": (RESNET, lambda name: "head." + name if name.startswith("fc.") else "backbone." + name),
}


@pytest.mark.parametrize("own, named", FORMS.values(), ids=FORMS)
def test_names_of_other_programs_are_found_again(tmp_path, own, named):
    safetensors.write(tmp_path / "a", {named(name): array for name, array in own.items()})
    state, remarks = weights_for(open_foreign(tmp_path / "a"), own, None, 3)
    assert state.keys() == own.keys() and not remarks
    for name, array in own.items():
        np.testing.assert_array_equal(state[name], array)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(["module", "_orig_mod", "model", "net", "backbone", "ema_model", "0"]), max_size=6))
def test_any_row_of_prefixes_is_removed(prefixes):
    """Each a wrapper around the next."""
    row = "".join(f"{prefix}." for prefix in prefixes)
    for own in (ALEXNET, RESNET):
        named = {f"{row}{name}": name for name in own}
        assert weight_names.renaming(named, own) == named


def test_counters_of_a_wrapper_are_left_out_and_those_of_batch_norm_may_be_missing(tmp_path):
    held = {f"module.{name}": array for name, array in RESNET.items() if not name.endswith("num_batches_tracked")}
    safetensors.write(tmp_path / "a", held | {"n_averaged": np.array(5)})
    state, _ = weights_for(open_foreign(tmp_path / "a"), RESNET, None, 3)
    assert state.keys() == {name for name in RESNET if not name.endswith("num_batches_tracked")}


def test_a_network_whose_own_names_begin_alike_keeps_them(tmp_path):
    own = {f"model.module.{k}.weight": np.full((1, 1), k, np.float32) for k in range(3)}
    safetensors.write(tmp_path / "a", own)
    assert weights_for(open_foreign(tmp_path / "a"), own, None, 3)[0].keys() == own.keys()


def test_two_names_that_would_become_one_are_kept_apart():
    names = ["module.fc.weight", "fc.weight", "fc.bias"]
    assert weight_names.renaming(names, {"fc.weight": 0, "fc.bias": 0}) == {name: name for name in names}


def test_more_names_than_any_network_has_are_left_as_they_are():
    names = [f"module.{k}" for k in range(weight_names.MAX_NAMES + 1)]
    assert weight_names.renaming(names, {"0": 0}) == {name: name for name in names}


def test_a_name_of_a_million_parts_and_a_layer_of_a_million_digits_take_no_time():
    long = ".".join("a" * 500_000)
    assert weight_names.renaming([long, f"encoder.stages.{'1' * 100_000}.layers.0"], {}).keys() >= {long}


@pytest.mark.parametrize("held, reason", [
    ({"encoder.a": 0, "encoder.b": 1}, r"has 0 of the network's 320 names .conv1.weight, .*; its own are encoder.a, "),
    ({name: 0 for name in list(RESNET)[:30]}, "has 30 of the network's 320 names")])
def test_the_weights_of_another_network_are_named(tmp_path, held, reason):
    safetensors.write(tmp_path / "a", {name: np.float32([value]) for name, value in held.items()})
    with pytest.raises(BadInput, match=reason):
        weights_for(open_foreign(tmp_path / "a"), RESNET, None, 3)


KERAS_LEAVES = {"weight": "kernel", "running_mean": "moving_mean", "running_var": "moving_variance", "bias": "bias"}
TINY = {"conv1.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2), "bn1.weight": np.ones(2, np.float32),
        "bn1.bias": np.zeros(2, np.float32), "bn1.running_mean": np.full(2, 3, np.float32),
        "bn1.running_var": np.full(2, 4, np.float32), "layer1.0.fc.weight": np.float32([[1, 2], [3, 4], [5, 6]])}


def in_keras(name, array, style):
    layer, _, leaf = name.rpartition(".")
    leaf = ({"weight": "gamma", "bias": "beta"} | KERAS_LEAVES)[leaf] if ".running" in name else (
        {"weight": "gamma", "bias": "beta"} if layer == "bn1" else KERAS_LEAVES)[leaf]
    layer = layer.replace(".", "_")
    path = {"keras 2": f"{layer}/{layer}/{leaf}:0", "model": f"model_weights/{layer}/{layer}/{leaf}:0",
            "plain": f"{layer}/{leaf}", "nested": f"resnet/{layer}/{leaf}:0"}[style]
    return path, array.transpose({4: (2, 3, 1, 0), 2: (1, 0)}.get(array.ndim, range(array.ndim)))


@pytest.mark.parametrize("style", ["keras 2", "model", "plain", "nested"])
def test_weights_of_keras_are_turned_into_the_order_of_the_network(tmp_path, style):
    hdf5.write(tmp_path / "a", dict(in_keras(name, array, style) for name, array in TINY.items()), {})
    state, remarks = weights_for(open_foreign(tmp_path / "a"), TINY, None, 3)
    assert state.keys() == TINY.keys() and "of Keras, whose padding and epsilon" in remarks[-1]
    for name, array in TINY.items():
        np.testing.assert_array_equal(state[name], array)


def test_a_flattened_plane_of_keras_is_refused(tmp_path):
    own = {"conv1.weight": TINY["conv1.weight"], "fc.weight": np.zeros((3, 8), np.float32)}
    hdf5.write(tmp_path / "a", dict(in_keras(name, array, "plain") for name, array in own.items()), {})
    with pytest.raises(BadInput, match="fc.weight reads a flattened plane, which Keras flattens in another order"):
        weights_for(open_foreign(tmp_path / "a"), own, None, 3)
    grey = {"fc.weight": np.zeros((3, 8), np.float32)}          # one channel: both orders are one
    hdf5.write(tmp_path / "a", dict(in_keras(name, array, "plain") for name, array in grey.items()), {})
    assert weights_for(open_foreign(tmp_path / "a"), grey, None, 1)[0]["fc.weight"].shape == (3, 8)


def test_a_key_of_a_file_that_is_one_set_is_refused(tmp_path):
    safetensors.write(tmp_path / "a", TINY)
    with pytest.raises(UsageError, match="key 'ema': no weights under it in .*; the file is one set of weights"):
        weights_for(open_foreign(tmp_path / "a"), TINY, "ema", 3)
