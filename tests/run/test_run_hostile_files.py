"""Weight files made to do harm, or made by something else: refused with one line that names them, and no code runs."""
import json

import h5py
import numpy as np
import pytest

from tinyq.__main__ import main
from tinyq.errors import BadInput
from tinyq.files import weights as files
from tinyq.saved import attributes, model_file

PAYLOAD = """
from pathlib import Path
from tinyq import nn

Path(__file__).with_name("it_ran").touch()


def net(num_classes, input_shape):
    return nn.Sequential(nn.Linear(input_shape[0], num_classes))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile") / "run"
    line = f"train --model mlp:8,16 --data iris --method cbp --recipe none --epochs 1 --threads 1 --output {folder}"
    assert main(line.split()) == 0
    return (folder / "model.h5").read_bytes()


@pytest.fixture
def path(trained, tmp_path):
    (tmp_path / "model.h5").write_bytes(trained)
    return tmp_path / "model.h5"


def set_attribute(path, name, value):
    with h5py.File(path, "a") as file:
        del file.attrs[name]
        if value is not None:
            file.attrs[name] = value


def refused(capsys, command):
    """The one line of a refusal."""
    capsys.readouterr()
    assert main(command.split()) == 65
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "model.h5: " in err and "internal" not in err
    return err


@pytest.mark.parametrize("name", ["{}:net", "mlp:{}:net", "{}", "lenet:{}:net"])
@pytest.mark.parametrize("command", ["evaluate {} --threads 1", "summary {}"])
def test_a_file_cannot_choose_what_code_runs(capsys, path, name, command):
    (path.parent / "payload.py").write_text(PAYLOAD)
    set_attribute(path, "model", np.bytes_(name.format(path.parent / "payload.py")))
    assert "name it with --model" in refused(capsys, command.format(path))
    assert not (path.parent / "it_ran").exists()


def test_what_the_user_names_runs(capsys, path):
    (path.parent / "payload.py").write_text(PAYLOAD)
    assert "is missing" in refused(capsys, f"evaluate {path} --model {path.parent / 'payload.py'}:net --threads 1")
    assert (path.parent / "it_ran").exists()


@pytest.mark.parametrize("name, value, says", [
    ("model", None, "model is no text"), ("model", 3, "model is no text"),
    ("data", None, "data is no text"),
    ("method", None, "method is no text"), ("constrain", 1.5, "constrain is no text"),
    ("levels", 2, "levels is no text"),
    ("class_names", None, "class_names"), ("class_names", np.bytes_(b"setosa"), "class_names"),
    ("class_names", [1, 2, 3], "class_names"), ("class_names", np.zeros(0, "S1"), "class_names"),
    ("input_shape", b"4,x", "input_shape"), ("input_shape", b"-4", "input_shape"), ("input_shape", 4.5, "input_shape"),
    ("input_shape", b"9" * 5000, "input_shape"), ("input_shape", None, "input_shape"),
    ("probe_tolerance", b"large", "probe_tolerance"), ("probe_tolerance", np.nan, "probe_tolerance"),
    ("probe_tolerance", [0.0, 1.0], "probe_tolerance"), ("probe_tolerance", -1, "probe_tolerance"),
    ("data_options", None, "data_options is no JSON"), ("data_options", b"{", "data_options is no JSON"),
    ("data_options", b"[1]", "data_options is no JSON"), ("data_options", b"[" * 30000, "data_options is no JSON"),
    ("data_options", b'{"path": "/etc"}', "path is no setting of iris"),
    ("data_options", b'{"validation": "many"}', "validation has a value that iris does not take"),
    ("data_options", b'{"validation": -1}', "validation has a value"),
    ("data_options", b'{"split": [0]}', "split has a value"), ("data_options", b'{"split": NaN}', "split has a value"),
    ("model", b"mlp:9999999,9999999,9999999", ""), ("model", b"mlp:-3", ""), ("model", b"resnet20", ""),
    ("class_names", h5py.Empty("S3"), "class_names"),
], ids=lambda value: str(value)[:30])
def test_read_attributes_another_kind_are_refused_in_one_line(capsys, path, name, value, says):
    set_attribute(path, name, np.bytes_(value) if isinstance(value, bytes) else value)
    for command in (f"evaluate {path} --threads 1", f"summary {path}"):
        assert says in refused(capsys, command)


@pytest.mark.parametrize("name", [b"irises", b"own.py:load"])
def test_data_that_do_not_come_with_tinyq_are_refused_where_they_are_needed(capsys, path, name):
    set_attribute(path, "data", np.bytes_(name))
    assert f"its data {name.decode()!r} do not come with tinyq" in refused(capsys, f"evaluate {path} --threads 1")
    assert main(["summary", str(path)]) == 0


def test_every_fault_is_told_at_once(path):
    for name in ("model", "data", "class_names"):
        set_attribute(path, name, None)
    with pytest.raises(BadInput, match="model is no text; data is no text; class_names is no list"):
        model_file.load_model(path)


def test_a_path_is_never_taken_from_a_file(path):
    set_attribute(path, "data", np.bytes_(b"imagefolder"))
    set_attribute(path, "data_options", np.bytes_(json.dumps({"classes": "/etc/passwd", "size": 64}).encode()))
    held = files.read_attributes(path)
    attributes.check_attributes(path, held)
    assert attributes.data_options(held) == {"size": 64}


def no_inputs(file):
    del file["probe/inputs"]


def no_logits(file):
    del file["probe/logits"]


def inputs_of_another_shape(file):
    del file["probe/inputs"]
    file["probe/inputs"] = np.zeros((4, 1, 8, 8), "f4")


def empty_probe(file):
    del file["probe"]
    file["probe/inputs"], file["probe/logits"] = np.zeros((0, 4), "f4"), np.zeros((0, 3), "f4")


def levels_of_a_bias(file):
    bias = file["fc1/bias"][...]
    file["fc1/bias_scale"], file["fc1/bias_levels"] = np.ones(len(bias), "f4"), np.unique(bias)


def no_shape(file):
    del file["fc2/weight_levels"]
    file["fc2/weight_levels"] = h5py.Empty("f4")


@pytest.mark.parametrize("change", [no_inputs, no_logits, inputs_of_another_shape, empty_probe, levels_of_a_bias,
                                    no_shape], ids=lambda change: change.__name__)
def test_datasets_of_another_kind_are_refused_in_one_line(capsys, path, change):
    with h5py.File(path, "a") as file:
        change(file)
    refused(capsys, f"evaluate {path} --threads 1")


def test_scales_of_a_number_alone_are_refused(tmp_path):
    state = {"bn.num_batches_tracked": np.int64(3)}
    files.write(tmp_path / "model.h5", files.Weights(state, {"bn.num_batches_tracked": np.ones(1, np.float32)},
                                                     {"bn.num_batches_tracked": np.array([0, 3], np.float32)}))
    with pytest.raises(BadInput, match="num_batches_tracked_scale is not of this model"):
        files.read(tmp_path / "model.h5", state)


def test_another_set_of_classes_is_not_measured(capsys, path):
    set_attribute(path, "class_names", np.array([b"rose", b"tulip", b"daisy"]))
    assert "made for other classes than those of iris here" in refused(capsys, f"evaluate {path} --threads 1")
