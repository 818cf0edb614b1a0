"""Network files in viewers, and packed networks in the commands that take trained ones."""
import json

import h5py
import numpy as np
import pytest

from tinyq.__main__ import main as tinyq
from tinyq.packed.file import format


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short run on the digits, ternary, with its packed network."""
    folder = tmp_path_factory.mktemp("viewed") / "run"
    assert not tinyq(f"train --max-steps 30 --pretrain-epochs 0 --epochs 1 --audit off --output {folder}".split())
    return folder


def layers_as_viewers_find_them(path):
    """What Keras and Netron show: the names in layer_names are groups, those in weight_names are arrays inside."""
    with h5py.File(path) as file:
        return {layer.decode(): {name.decode(): file[layer.decode()][name.decode()][()]
                                 for name in file[layer.decode()].attrs["weight_names"]}
                for layer in file.attrs["layer_names"]}


def test_viewers_show_the_layers_of_a_trained_network(run):
    layers = layers_as_viewers_find_them(run / "model.h5")
    assert len(layers) > 3
    assert list(layers["conv2"])[0] == "weight" and {"weight_scale", "weight_levels"} <= set(layers["conv2"])
    assert layers["conv2"]["weight"].ndim == 4


def test_viewers_show_the_layers_of_a_packed_network(run):
    layers, packed = layers_as_viewers_find_them(run / "model.tq.h5"), format.read(run / "model.tq.h5")
    assert [name for name in layers if name != "constants"] == [f"tensors/{name}" for name in packed.tensors]
    for name, tensor in packed.tensors.items():
        held = layers[f"tensors/{name}"]
        assert held.keys() == tensor.arrays().keys()
        assert all(np.array_equal(held[part], array) for part, array in tensor.arrays().items())
    assert format.encode(packed) == (run / "model.tq.h5").read_bytes()


def printed(capsys, line):
    capsys.readouterr()
    assert not tinyq(line.split()), line
    return json.loads(capsys.readouterr().out)


def test_evaluate_measures_a_packed_network_as_the_trained_one(capsys, run):
    trained, packed = (printed(capsys, f"evaluate {run / name} --json") for name in ("model.h5", "model.tq.h5"))
    assert packed == trained
    assert tinyq(["evaluate", str(run / "model.tq.h5"), "--model", "digits_cnn"]) == 2
    assert "holds its network" in capsys.readouterr().err


def test_a_packed_network_is_known_by_its_content(capsys, run, tmp_path):
    (tmp_path / "renamed.h5").write_bytes((run / "model.tq.h5").read_bytes())
    assert printed(capsys, f"evaluate {tmp_path / 'renamed.h5'} --json")["n"] == 360
    (tmp_path / "cut.tq.h5").write_bytes((run / "model.tq.h5").read_bytes()[:3000])
    for command in ("evaluate", "summary"):
        assert tinyq([command, str(tmp_path / "cut.tq.h5")]) == 65
        assert capsys.readouterr().err.count("\n") == 1


def test_summary_lists_the_products_of_a_packed_network(capsys, run):
    trained, packed = (printed(capsys, f"summary {run / name} --json") for name in ("model.h5", "model.tq.h5"))
    weights = {row["name"]: row for row in packed["layers"]}
    for row in trained["layers"]:
        if row["macs"]:
            found = weights[row["name"]]
            assert (found["weight"], found["output"], found["macs"]) == (row["weight"], row["output"], row["macs"])
            assert (found["set"], found["bits"]) == (row["set"], row["bits"])
    held = format.read(run / "model.tq.h5")
    stored = sum(array.nbytes for tensor in held.tensors.values() for array in tensor.arrays().values())
    assert packed["totals"]["bytes_packed"] == stored + sum(array.nbytes for array in held.constants.values())
    assert packed["totals"]["macs_constrained"] == trained["totals"]["macs_constrained"]
    assert not tinyq(["summary", str(run / "model.tq.h5")])
    assert "(in the file)" in capsys.readouterr().out
