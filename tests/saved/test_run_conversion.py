"""Weights of other programs, through the command: to model.h5, back, and what does not fit."""
import json

import numpy as np
import pytest

from tinyq import models
from tinyq.convert import main
from tinyq.files import hdf5, safetensors
from tinyq.saved import model_file
from tinyq.saved.attributes import shape_of
from tinyq.streams import Streams

SHAPE = "3,40,40"


def state_of(name, classes=5):
    return models.build(name, classes, (3, 32, 32)).initialise(Streams(3)).state_dict()


def convert(tmp_path, state, name="resnet20", *flags):
    safetensors.write(tmp_path / "in.safetensors", state)
    source, target = str(tmp_path / "in.safetensors"), str(tmp_path / "out.h5")
    return main([source, target, "--model", name, "--input-shape", SHAPE, *flags])


def test_weights_go_there_and_back_to_the_bit(tmp_path, capsys):
    state = state_of("resnet20")
    assert convert(tmp_path, state) == 0
    assert "resnet20, 5 classes, 2" in capsys.readouterr().out
    model, attributes = model_file.load_model(tmp_path / "out.h5")
    assert attributes["class_names"] == list("01234") and shape_of(attributes) == (3, 40, 40)
    assert json.loads(attributes["preprocessing"])["resize"] == 46 and len(attributes["source_sha256"]) == 64
    assert main([str(tmp_path / "out.h5"), str(tmp_path / "back.safetensors")]) == 0
    assert (tmp_path / "back.safetensors").read_bytes() == (tmp_path / "in.safetensors").read_bytes()


def test_every_difference_is_in_one_message(tmp_path, capsys):
    state = state_of("resnet20")
    state["extra"] = state.pop("bn1.weight")
    state["conv1.weight"] = state["conv1.weight"][:, :, :1]
    state["bn1.bias"] = state["bn1.bias"].astype(np.int64)
    assert convert(tmp_path, state) == 65
    err = capsys.readouterr().err
    for part in ("missing bn1.weight", "extra extra", "conv1.weight is float32 (16, 3, 1, 3)",
                 "bn1.bias is int64 (16,)"):
        assert part in err
    assert err.count("\n") == 1 and not (tmp_path / "out.h5").exists()


def test_counters_may_be_missing_and_known_heads_may_be_there(tmp_path, capsys):
    state = {name: array for name, array in state_of("googlenet").items() if not name.endswith("num_batches_tracked")}
    state |= {"aux1.fc2.weight": np.zeros((5, 1024), np.float32), "aux2.fc2.bias": np.zeros(5, np.float32)}
    assert convert(tmp_path, state, "googlenet") == 0
    assert "left out: aux1.fc2.weight, aux2.fc2.bias" in capsys.readouterr().out
    assert convert(tmp_path, state | {"aux3.weight": np.zeros(1, np.float32)}, "googlenet") == 65


LAYOUTS = {"dots": str, "groups": lambda name: name.replace(".", "/"),
           "a group a layer": lambda name: "/".join(name.rsplit(".", 1))}


@pytest.mark.parametrize("named", LAYOUTS.values(), ids=LAYOUTS)
def test_hdf5_of_other_programs_is_read(tmp_path, capsys, named):
    state = state_of("resnet20")
    hdf5.write(tmp_path / "in.h5", {named(name): array for name, array in state.items()}, {})
    flags = str(tmp_path / "out.h5"), "--model", "resnet20", "--input-shape", SHAPE
    assert main([str(tmp_path / "in.h5"), *flags]) == 0
    for name, array in model_file.load_model(tmp_path / "out.h5")[0].state_dict().items():
        np.testing.assert_array_equal(array, state[name])
    assert main([str(tmp_path / "out.h5"), *flags]) == 2
    assert "tinyq's own format already" in capsys.readouterr().err


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(tmp_path, capsys, value):
    state = state_of("resnet20")
    state["bn1.running_mean"][3] = value
    assert convert(tmp_path, state) == 65
    assert "not finite: bn1.running_mean" in capsys.readouterr().err


def test_weights_that_overflow_are_the_fault_of_their_file(tmp_path, capsys):
    state = state_of("resnet20")
    state["fc.weight"] += np.float32(3e38)
    assert convert(tmp_path, state) == 65           # before: a remedy for training
    assert "in.safetensors: the network's outputs for random inputs are not finite" in capsys.readouterr().err


@pytest.mark.parametrize("flags, code, reason", [
    (["in.safetensors", "out.npz"], 2, "convert writes .h5, .safetensors and .onnx"),
    (["in.safetensors", "out.h5"], 2, "--model: name the network"),
    (["in.npz", "out.h5", "--model", "resnet18"], 65, "in.npz: cannot be read"),
    ([".", "out.h5", "--model", "resnet18"], 2, "is a folder; name a file of weights"),
    (["text.pth", "out.h5", "--model", "resnet18"], 65, "text.pth: is a text that begins with 'Not Found'"),
    (["in.safetensors", "out.h5", "--model", "resnet19"], 2, "did you mean 'resnet18'"),
    (["in.safetensors", "out.h5", "--model", "resnet18"], 65, "has 0 of the network's 122 names"),
    (["in.safetensors", "out.h5", "--model", "resnet18", "--input-shape", "3,x"], 2, "whole numbers"),
])
def test_mistakes(tmp_path, monkeypatch, capsys, flags, code, reason):
    monkeypatch.chdir(tmp_path)
    safetensors.write("in.safetensors", {"w": np.zeros(3, np.float32)})
    (tmp_path / "text.pth").write_text("Not Found")
    assert main(flags) == code
    err = capsys.readouterr().err
    assert reason in err and err.count("\n") == 1


def test_class_names_come_from_a_file_and_must_be_as_many(tmp_path, capsys):
    (tmp_path / "names.txt").write_text("\ufeffa cat\nb dog\nc\nd\ne\n")
    flags = "resnet20", "--classes", str(tmp_path / "names.txt")
    assert convert(tmp_path, state_of("resnet20"), *flags) == 0
    assert model_file.load_model(tmp_path / "out.h5")[1]["class_names"] == ["a cat", "b dog", "c", "d", "e"]
    assert convert(tmp_path, state_of("resnet20", 4), *flags) == 2
    assert "has 5 names" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["evaluate in.pth", "summary in.pth", "pack in.pth out.tq.h5",
                                     "train --data iris --model mlp:8 --weights in.pth --output r",
                                     "convert in.pth out.safetensors"])
def test_where_weights_of_tinyq_are_wanted_those_of_others_are_refused_with_the_command_that_converts_them(
        tmp_path, monkeypatch, capsys, command):
    from tinyq.__main__ import main as tinyq

    monkeypatch.chdir(tmp_path)
    safetensors.write("in.pth", models.build("mlp:8", 3, (4,)).initialise(Streams(0)).state_dict())
    assert tinyq(command.split()) == 65
    said = capsys.readouterr().err.splitlines()[-1]
    assert "in.pth: weights of safetensors, not of tinyq; convert them first: python -m tinyq.convert " in said
    remedy = said.partition("first: python -m tinyq.convert ")[2].replace("NAME", "mlp:8")
    assert main([*remedy.split(), "--data", "iris"]) == 0 and (tmp_path / "in.h5").exists()


def test_a_web_page_in_place_of_weights_is_named_everywhere(tmp_path, capsys):
    from tinyq.__main__ import main as tinyq

    (tmp_path / "model.h5").write_text("<html>404</html>")
    assert tinyq(["evaluate", str(tmp_path / "model.h5")]) == 65 and "is a web page" in capsys.readouterr().err


def test_a_network_that_does_not_take_the_assumed_inputs_asks_for_theirs(tmp_path, capsys):
    saved = tmp_path / "lenet.safetensors"
    safetensors.write(saved, models.build("lenet", 10, (1, 28, 28)).initialise(Streams(0)).state_dict())
    assert main([str(saved), str(tmp_path / "l.h5"), "--model", "lenet"]) == 2
    assert "name the data with --data, or the shape with --input-shape" in capsys.readouterr().err
    for remedy in (["--data", "mnist"], ["--input-shape", "1,28,28"]):
        assert main([str(saved), str(tmp_path / "l.h5"), "--model", "lenet", *remedy]) == 0
