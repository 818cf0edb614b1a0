"""A checkpoint serves wherever weights do: the network as if the run had ended there."""
import json
import shutil

import numpy as np
import pytest

from tinyq.__main__ import main
from tinyq.run import checkpoint, session
from tinyq.run.checkpoint_network import is_checkpoint, load_network
from tinyq.run.settings.resolve import resolve
from tinyq.saved.measure import logits_of
from tinyq.saved.model_file import load_model, shown_state
from tinyq.saved.run_folder import data_paths_beside

IRIS = {"model": "mlp:8,16", "data": "iris", "recipe": "none", "batch_size": 16, "lr": 0.05, "threads": 1, "workers": 0,
        "pretrain_epochs": 1}
METHODS = {"cbp": {**IRIS, "method": "cbp", "cbp.period": 1, "epochs": 2, "levels": "shift1"},
           "rpr": {**IRIS, "method": "rpr", "opt": "adam", "lr": 0.01, "epochs": 5, "constrain": "all"},
           "conntra": {"recipe": "iris-conntra", "pretrain_epochs": 1, "epochs": 2, "conntra.surrogate": 1,
                       "threads": 1, "workers": 0},
           "backprop": {**IRIS, "method": "backprop", "pretrain_epochs": 0, "epochs": 2}}


@pytest.fixture(scope="module", params=METHODS)
def run(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / request.param
    session.start(resolve({**METHODS[request.param], "output": str(folder)}))
    return folder


def of_step(run, last=True):
    paths = sorted((run / "checkpoints").iterdir())
    return paths[-1 if last else 0]


def logits(network):
    return logits_of(network, np.linspace(-1, 1, 20, dtype=np.float32).reshape(5, 4))


def test_the_last_checkpoint_is_the_finished_network(run):
    ours, attributes = load_network(of_step(run))
    theirs, known = load_model(run / "model.h5")
    assert attributes["weights_sha256"] == known["weights_sha256"]
    assert {key: known[key] for key in attributes} == attributes
    states = shown_state(ours), shown_state(theirs)
    assert all(np.array_equal(states[0][name], states[1][name]) for name in states[1])
    assert np.array_equal(logits(ours), logits(theirs))


def test_every_command_takes_it_wherever_it_lies(run, tmp_path, capsys):
    moved = shutil.copy(of_step(run), tmp_path / "any name")
    results = []
    for path in (run, moved):
        assert main(["evaluate", str(path), "--json"]) == 0
        results.append(json.loads(capsys.readouterr().out))
    assert results[0] == results[1]
    tables = []
    for path in (run / "model.h5", moved):
        assert main(["summary", str(path)]) == 0
        tables.append(capsys.readouterr().out)
    assert tables[0] == tables[1]
    shown = []
    for path in (run / "model.h5", moved):
        assert main(["infer", str(path), "--data"]) == 0
        shown.append(capsys.readouterr().out)
        assert main(["pack", str(path), str(tmp_path / f"{len(shown)}.tq.h5")]) == 0
        capsys.readouterr()
    assert shown[0] == shown[1]


def test_a_run_starts_from_it_as_from_the_network(run, tmp_path):
    settings = {**METHODS["backprop"], "epochs": 1}
    if "conntra" in run.name:                               # prepares its inputs otherwise
        settings["iris.whole"] = True
    found = [session.start(resolve({**settings, "weights": str(path), "output": str(tmp_path / str(i))}))[0]
             for i, path in enumerate((run / "model.h5", of_step(run)))]
    assert found[0]["weights_sha256"] == found[1]["weights_sha256"]


def test_a_checkpoint_of_the_pretraining_is_a_float_network(tmp_path, capsys):
    session.start(resolve({**METHODS["cbp"], "max_steps": 3, "output": str(tmp_path / "run")}))
    _, attributes = load_network(of_step(tmp_path / "run"))
    assert attributes["method"] == "backprop" and "levels" not in attributes
    assert main(["evaluate", str(of_step(tmp_path / "run"))]) == 0


def test_what_is_no_checkpoint_is_not_taken_for_one(run, tmp_path):
    (tmp_path / "text").write_text("x")
    assert is_checkpoint(of_step(run)) and not is_checkpoint(run / "model.h5")
    assert not is_checkpoint(tmp_path / "text") and not is_checkpoint(tmp_path)


def test_a_changed_checkpoint_is_refused(run, tmp_path, capsys):
    path = tmp_path / "step.h5"
    path.write_bytes(of_step(run).read_bytes()[:-300])
    assert main(["evaluate", str(path)]) == 65
    position, states = checkpoint.load(of_step(run))
    position.network["model"] = "mlp:9,9"
    checkpoint.write(path, position, states)
    assert main(["evaluate", str(path)]) == 65
    position.network["model"] = "x/net.py:f"
    checkpoint.write(path, position, states)
    assert main(["evaluate", str(path)]) == 65
    assert "--model path/to/file.py:function" in capsys.readouterr().err


def test_an_unfinished_run_says_that_its_checkpoints_serve(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "r")
    (tmp_path / "r" / "model.h5").unlink()
    assert main(["evaluate", str(tmp_path / "r")]) == 65
    assert f"name a file of {tmp_path / 'r' / 'checkpoints'}" in capsys.readouterr().err
    assert data_paths_beside(of_step(run), "iris") == data_paths_beside(run / "model.h5", "iris")
