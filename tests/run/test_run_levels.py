"""A run with a set of levels for each layer: trained, verified, replayed, summarised, packed, run as C."""
import json
import re
import shutil
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest

from tinyq import train
from tinyq.__main__ import main as tinyq
from tinyq.audit.ledger.history import read_history
from tinyq.audit.verification.network_files import check_sets
from tinyq.errors import AuditMismatch, UsageError
from tinyq.files import weights
from tinyq.packed.file import format
from tinyq.run.phases import method_of
from tinyq.run.settings.resolve import resolve
from tinyq.run.settings.toml_file import read_toml
from tinyq.saved.model_file import load_model, views

TEXT = "fc2=shift1,fc3=-1,0,2,*=binary"
SETS = {"fc1": ("binary", 1, [-1, 1]), "fc2": ("shift1", 3, [-1, -0.5, 0, 0.5, 1]), "fc3": ("-1,0,2", 2, [-1, 0, 2])}
IRIS = ("--model mlp:8,16 --data iris --recipe none --constrain all --pretrain-epochs 2 --epochs 2 --batch-size 40 "
        "--opt sgd --lr 0.05")
METHODS = {"cbp": "", "rpr": "--rpr.fractions 0.5,1", "conntra": "--conntra.visits 30"}


def line(method, output, *more):
    return ["train", *IRIS.split(), "--method", method, *METHODS[method].split(), *more, "--output", str(output)]


@pytest.fixture(scope="module", params=METHODS)
def mixed(request, tmp_path_factory):
    """The folder of a run with TEXT's levels."""
    folder = tmp_path_factory.mktemp("levels") / request.param
    assert tinyq(line(request.param, folder, "--levels", TEXT)) == 0
    return folder


def test_each_layer_is_on_its_own_levels_and_files_summaries_and_results_call_them_that(mixed, capsys):
    held = weights.read(mixed / "model.h5")
    assert {name: held.levels[f"{name}.weight"].tolist() for name in SETS} == {
        name: levels for name, (_, _, levels) in SETS.items()}
    model, _ = load_model(mixed / "model.h5")
    assert {name: view.level_set.name for name, view in views(model).items() if name.endswith("weight")} == {
        f"{name}.weight": shown for name, (shown, _, _) in SETS.items()}
    result = json.loads((mixed / "result.json").read_text())
    assert result["levels"] == TEXT and result["on_levels"] == 1
    assert {name: (one["levels"], one["bits"]) for name, one in result["sets"].items() if name.endswith("weight")} == {
        f"{name}.weight": one[:2] for name, one in SETS.items()}
    assert sum(one["weights"] for one in result["sets"].values()) == result["constrained_weights"]
    for file in ("model.h5", "model.tq.h5"):
        capsys.readouterr()
        assert tinyq(["summary", str(mixed / file), "--json"]) == 0
        layers = json.loads(capsys.readouterr().out)["layers"]
        assert {layer["name"]: (layer["set"], layer["bits"]) for layer in layers} == {
            name: one[:2] for name, one in SETS.items()}


def test_it_is_verified_and_every_step_and_the_end_are_repeated(mixed, capsys):
    assert tinyq(["audit", "verify", str(mixed)]) == 0
    assert tinyq(["audit", "replay", str(mixed), "--all", "--final"]) == 0
    assert "packed again, equal" in capsys.readouterr().out


def test_levels_of_a_file_that_the_configuration_does_not_give_are_a_fault(mixed):
    evidence = SimpleNamespace(config=resolve({}, read_toml(mixed / "config.toml")).config, lacks_plugins=False,
                               history=read_history(mixed))
    levels = weights.read(mixed / "model.h5").levels
    check_sets(evidence, "model.h5", levels)
    with pytest.raises(AuditMismatch, match=re.escape("model.h5 has other levels than config.toml gives: fc2.weight")):
        check_sets(evidence, "model.h5", {**levels, "fc2.weight": np.array([-1, 0, 1], np.float32)})


def test_it_is_packed_with_the_bits_of_each_layer_and_runs_in_integers_and_as_c(mixed, tmp_path, capsys):
    packed = tmp_path / "mixed.tq.h5"
    assert tinyq(["pack", str(mixed), str(packed), "--float-layer-bits", "8", "--calibrate"]) == 0
    tensors = format.read(packed).tensors
    assert {name: (t.code_bits, t.levels.tolist()) for name, t in tensors.items()} == {
        name: one[1:] for name, one in SETS.items()}
    assert tinyq(["infer", str(packed), "--data", "--activations", "int8"]) == 0
    assert tinyq(["pack", str(packed), "--c", str(tmp_path / "c")]) == 0
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    sources = [*(tmp_path / "c").glob("*.c"), *(tmp_path / "c").rglob("selftest.c")]
    subprocess.run(["cc", "-std=c99", "-I.", *sources, "-o", "test"], cwd=tmp_path / "c", check=True)
    assert "ok" in subprocess.run(["./test"], cwd=tmp_path / "c", check=True, capture_output=True, text=True).stdout


def test_the_plan_names_the_levels_of_each_layer_and_what_is_kept(tmp_path, capsys):
    assert tinyq(line("cbp", tmp_path / "r", "--levels", "fc2=shift1,*=binary", "--keep", "fc3", "--dry-run")) == 0
    out = capsys.readouterr().out
    assert "cbp to fc2=shift1,*=binary, fc3 float, seed 0" in out
    assert "of them constrained: 32 to binary (1 bit), 128 to shift1 (3 bits)" in out
    assert re.search(r"fc2.weight +16x8 +128 +shift1 +3\n", out) and "fc3.weight" not in out


@pytest.mark.parametrize("method, more, words", [
    ("cbp", ["--levels", "fc9=binary,*=ternary"], "--levels fc9=binary: no layer here fits fc9; did you mean 'fc3'"),
    ("rpr", ["--levels", "fc1=binary,fc2=binary"], "no set for fc3; add *=ternary"),
    ("cbp", ["--levels", "fc2=binary,*=ternary", "--keep", "fc2"], "fc2 stays float because of keep fc2"),
    ("cbp", ["--keep", "conv1"], "tinyq: --keep conv1: no conv or linear layer here fits conv1; choose from: fc1"),
    ("cbp", ["--keep", "*"], "--keep *: leaves mlp:8,16 no weight to constrain; keep fewer layers"),
    ("conntra", ["--keep", "fc1"], "--constrain must be \"all\", and keep empty: conntra puts every parameter"),
    ("cbp", ["--levels", "ternary,fc1=binary"], "tinyq: --levels ternary,fc1=binary: ternary names no layer"),
])
@pytest.mark.parametrize("action", [[], ["--dry-run"]], ids=["train", "plan"])
def test_what_does_not_fit_is_one_line_before_anything_is_trained(method, more, words, action, tmp_path, capsys):
    assert tinyq(line(method, tmp_path / "r", *more, *action)) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_python_takes_the_same_texts(tmp_path):
    folder = train.train(model="mlp:8,16", data="iris", recipe="none", method="cbp", levels="*=-1,0,2",
                         keep=["fc1", "fc3"], constrain="all", pretrain_epochs=0, epochs=1, batch_size=60,
                         output=str(tmp_path / "r"), audit="off")
    result = json.loads((folder / "result.json").read_text())
    assert list(result["sets"]) == ["fc2.weight"] and result["keep"] == "fc1,fc3"
    assert load_model(folder / "model.h5")[1]["keep"] == "fc1,fc3"


def test_a_method_that_takes_one_set_says_so(monkeypatch):
    from tinyq.levels import LevelSet
    from tinyq.methods import METHODS as KNOWN

    def one_set(levels: LevelSet):
        raise AssertionError

    config = resolve({"levels": "fc1=binary,*=ternary"}).config
    monkeypatch.setitem(KNOWN, "cbp", one_set)
    with pytest.raises(UsageError, match=re.escape("cbp takes one set for all layers")):
        method_of(config)
