"""Runs with other losses on the command line: evaluate, infer, pack, C, resume, a loss of one's own."""
import csv
import json
import shutil
import subprocess

import numpy as np
import pytest

from tinyq import data
from tinyq.__main__ import main
from tinyq.files.journal import read_records

QUICK = ["--model", "mlp:6,5", "--pretrain-epochs", "1", "--epochs", "2", "--batch-size", "64", "--lr", "0.05",
         "--workers", "0", "--threads", "1", "--method", "cbp"]
OWN = """from tinyq import functional as F

def huber(outputs, y):
    size = F.abs(outputs - y.reshape(outputs.shape))
    inside = F.clip(size, high=1.0)
    return F.mean(inside * (size - inside * 0.5))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Digits as a number, and as three labels: even, above 4, with a loop."""
    folder, bundle = tmp_path_factory.mktemp("data"), data.load("digits", whole=True, validation=0)
    x, y = bundle.arrays("test")
    x = np.rint(x * 16).astype(np.uint8)
    np.savez(folder / "number.npz", x=x, y=y.astype(np.float32))
    np.savez(folder / "labels.npz", x=x, y=np.stack([y % 2 == 0, y > 4, np.isin(y, [0, 6, 8, 9])], 1).astype(np.int64))
    (folder / "own.py").write_text(OWN)
    return folder


@pytest.fixture(scope="module")
def runs(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    losses = {"number": "mse", "labels": "bce", "own": f"{files / 'own.py'}:huber"}
    for name, loss in losses.items():
        source = files / f"{'number' if name == 'own' else name}.npz"
        assert main(["train", "--data", str(source), "--loss", loss, "--output", str(folder / name), *QUICK]) == 0
    return folder


def said(capsys, *words):
    capsys.readouterr()
    assert main(list(map(str, words))) == 0
    return capsys.readouterr().out


def test_evaluate_says_the_figures_of_the_task(runs, capsys, tmp_path):
    result = json.loads((runs / "number" / "result.json").read_text())
    report = json.loads(said(capsys, "evaluate", runs / "number", "--json"))
    assert {name: report[name] for name in ("r2", "mean_squared_error", "loss")} == {
        name: result[f"test_{name}"] for name in ("r2", "mean_squared_error", "loss")}
    assert "R2 " in said(capsys, "evaluate", runs / "number" / "best.h5")
    labels = json.loads(said(capsys, "evaluate", runs / "labels", "--json", "--predictions", tmp_path / "p.csv"))
    result = json.loads((runs / "labels" / "result.json").read_text())
    assert labels["mean_average_precision"] == result["test_mean_average_precision"]
    assert [one["accuracy"] for one in labels["per_label"].values()] == result["test_label_accuracy"]
    rows = list(csv.reader((tmp_path / "p.csv").read_text().splitlines()))
    assert len(rows) == 1 + labels["n"] and len(rows[0]) == 7 and all(0 <= float(p) <= 1 for p in rows[1][1:])
    assert "average precision" in said(capsys, "evaluate", runs / "labels")


def test_infer_gives_numbers_and_labels_with_probabilities(runs, capsys, tmp_path):
    from PIL import Image

    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 3).save(tmp_path / "a.png")
    for name, key in (("number", "numbers"), ("labels", "labels")):
        packed = runs / name / "model.tq.h5"
        report = json.loads(said(capsys, "infer", packed, tmp_path / "a.png", "--json"))["images"][0]
        assert len(report[key]) == {"numbers": 1, "labels": 3}[key] and "classes" not in report
        assert "a.png: " in said(capsys, "infer", packed, tmp_path / "a.png")
        figures = json.loads(said(capsys, "infer", packed, "--data", "--json"))
        expected = json.loads(said(capsys, "evaluate", packed, "--json"))
        figure = {"numbers": "r2", "labels": "mean_average_precision"}[key]
        assert figures[figure] == expected[figure]
        assert "samples" in said(capsys, "infer", packed, "--data", "--activations", "int8")


@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")
def test_the_exported_c_says_what_its_outputs_are(runs, capsys, tmp_path):
    for name, words in (("number", "the predicted numbers"), ("labels", "its probability is 1 / (1 + exp(-value))")):
        packed = tmp_path / name / "model.tq.h5"
        packed.parent.mkdir()
        said(capsys, "pack", runs / name, packed, "--float-layer-bits", "8", "--calibrate")
        said(capsys, "pack", packed, "--c", tmp_path / name)
        assert words in (tmp_path / name / "model.h").read_text()
    subprocess.run("cc -std=c99 -O1 -I. *.c examples/model/selftest.c && ./a.out", shell=True, check=True,
                   cwd=tmp_path / "number", capture_output=True)


def test_a_loss_of_ones_own_is_recorded_trusted_and_named(runs, files, capsys):
    run = runs / "own"
    assert (run / "own.py").read_text() == OWN
    assert "own.py:huber" in json.loads((run / "result.json").read_text())["loss"]
    assert main(["audit", "replay", str(run), "--all"]) == 65
    assert "--trust" in capsys.readouterr().err
    for words in (["verify", run], ["replay", run, "--all", "--final"], ["check", run, "--step", "2"]):
        said(capsys, "audit", *words, "--trust")
    assert json.loads(said(capsys, "evaluate", run, "--json"))["loss"] is None
    report = json.loads(said(capsys, "evaluate", run, "--loss", f"{run / 'own.py'}:huber", "--json"))
    assert report["loss"] == json.loads((run / "result.json").read_text())["test_loss"]
    newest = sorted((run / "checkpoints").iterdir())[-1]
    assert json.loads(said(capsys, "evaluate", newest, "--json"))["r2"] == report["r2"]


def test_a_plateau_and_early_stopping_follow_the_loss_of_a_regression(files, tmp_path):
    assert main(["train", "--data", str(files / "number.npz"), "--loss", "mse", "--output", str(tmp_path / "r"), *QUICK,
                 "--method", "backprop", "--epochs", "30", "--lr", "0.5", "--schedule", "plateau", "--lr-patience", "0",
                 "--early-stopping", "3", "--pretrain-epochs", "0"]) in (0, 70)
    losses = [record["validation_loss"] for record in read_records(tmp_path / "r" / "metrics.jsonl")]
    rates = [record["lr"] for record in read_records(tmp_path / "r" / "metrics.jsonl")]
    for i in range(1, len(rates) - 1):
        assert (rates[i + 1] < rates[i]) == (losses[i] >= min(losses[:i]) * (1 - 1e-4))
    assert len(losses) < 30 and min(losses) not in losses[-3:]


@pytest.mark.parametrize("words, said_of_it", [
    (["--loss", "mae"], "--loss mae: unknown; did you mean 'mse'? choose from: bce, cross-entropy, mse"),
    (["--loss", "mse", "--class-weights", "1"], "--class-weights 1: have no effect"),
    (["--loss", "own.py:missing"], "there is no file "),
    ([], "choose the loss mse"), (["--loss", "mse", "--method", "conntra", "--constrain", "all", "--conntra.error",
                                   "rate"], "--conntra.error rate: counts classes, and the targets are numbers")])
def test_a_loss_that_does_not_fit_is_refused_before_training(words, said_of_it, files, tmp_path, capsys):
    code = main(["train", "--data", str(files / "number.npz"), "--output", str(tmp_path / "r"), *QUICK, *words])
    assert code in (2, 65) and said_of_it in capsys.readouterr().err and not (tmp_path / "r").exists()


def test_probabilities_are_measured_as_classes(tmp_path, capsys):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "p.npz", x=rng.standard_normal((60, 4)).astype(np.float32), y=rng.dirichlet(
        np.ones(3), 60).astype(np.float32))
    for method in ("cbp", "conntra"):
        words = ["--method", method, "--output", str(tmp_path / method), "--constrain", "all", "--epochs", "1"]
        more = ["--conntra.visits", "4"] if method == "conntra" else []
        assert main(["train", "--data", str(tmp_path / "p.npz"), *QUICK, *words, *more]) == 0
        assert "test_accuracy" in json.loads((tmp_path / method / "result.json").read_text())
        said(capsys, "audit", "replay", tmp_path / method, "--all", "--final")




def test_a_loss_of_a_plug_in_is_named_like_those_of_tinyq(files, tmp_path, capsys):
    (tmp_path / "more.py").write_text(OWN + """
from tinyq.tasks.loss_choice import LOSSES

LOSSES["huber"] = huber
""")
    assert main(["train", "--plugin", str(tmp_path / "more.py"), "--data", str(files / "number.npz"), "--loss", "huber",
                 "--output", str(tmp_path / "r"), *QUICK]) == 0
    said(capsys, "audit", "verify", tmp_path / "r")
    said(capsys, "audit", "replay", tmp_path / "r", "--all", "--final", "--trust")
    assert "loss " in said(capsys, "evaluate", tmp_path / "r", "--plugin", tmp_path / "more.py")
