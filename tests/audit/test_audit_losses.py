"""Regression, several labels and weighted classes: trained by each method, verified, replayed, checked; and forged."""
import json
import shutil

import numpy as np
import pytest
from audit_runs import rewrite

from tinyq import data
from tinyq.__main__ import main
from tinyq.audit import observers_for
from tinyq.audit.compare.record_differences import differences_of
from tinyq.audit.replay.final import replay_final
from tinyq.audit.replay.replay_all import replay_all
from tinyq.audit.replay.rerun import Source
from tinyq.audit.verification.verify import verify
from tinyq.errors import AuditMismatch
from tinyq.run import session
from tinyq.run.settings.resolve import resolve

METHODS = ("cbp", "rpr", "conntra")
TASKS = {"numbers": {"loss": "mse"}, "labels": {"loss": "bce", "class_weights": "1,2,0.5"},
         "classes": {"loss": "cross-entropy", "class_weights": "balanced", "ignore_index": 2}}


def flowers():
    """Iris in its own order: lengths and widths (150, 4), classes (150,)."""
    bundle = data.load("iris", validation=0)
    parts = [bundle.arrays(name) for name in ("train", "test")]
    x, y = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return x * bundle.preparation.std + bundle.preparation.mean, y


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder, (x, y) = tmp_path_factory.mktemp("data"), flowers()
    targets = {"numbers": x[:, 3], "classes": y, "labels": np.stack([y == 0, y > 0, x[:, 0] > 58], 1).astype(np.int64)}
    for kind, array in targets.items():
        np.savez(folder / f"{kind}.npz", x=x[:, :3].astype(np.float32), y=array)
    return folder


@pytest.fixture(scope="module")
def runs(files, tmp_path_factory):
    """The folder of a run by (kind of targets, method), trained when it is first asked for."""
    folder, made = tmp_path_factory.mktemp("runs"), {}

    def run(kind, method):
        if (kind, method) not in made:
            made[kind, method] = folder / f"{kind}-{method}"
            own = {"conntra": {"epochs": 1, "conntra.visits": 3, "constrain": "all", "conntra.surrogate": 0},
                   "rpr": {"epochs": 5}, "cbp": {"epochs": 2}}[method]
            session.start(resolve({
                "recipe": "none", "model": "mlp:4,3", "data": str(files / f"{kind}.npz"), "method": method, "lr": 0.02,
                "pretrain_epochs": 1, "batch_size": 40, "threads": 1, "workers": 0, "output": str(made[kind, method]),
                **TASKS[kind], **own}), observers_for)
        return made[kind, method]

    return run


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", TASKS)
def test_a_run_is_verified_replayed_and_checked(kind, method, runs, capsys):
    run = runs(kind, method)
    assert verify(run)[-1].startswith("not audited")
    source = Source(run, {})
    replay_all(source)
    said = " ".join(replay_final(source))
    assert {"numbers": "test R2", "labels": "test mean average precision", "classes": "test accuracy"}[kind] in said
    for step in (1, source.history.steps):
        assert main(["audit", "check", str(run), "--step", str(step)]) == 0
    assert "no fault" in capsys.readouterr().out


def test_the_figures_stand_in_every_record(runs):
    run = runs("numbers", "cbp")
    result = json.loads((run / "result.json").read_text())
    epochs = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert result["test_r2"] == pytest.approx(result["test_r2"]) and "test_accuracy" not in result
    assert result["test_loss"] == pytest.approx(result["test_mean_squared_error"], rel=1e-5)
    last = next(record for record in reversed(epochs) if record["record"] == "epoch")
    assert last["validation_r2"] == result["validation_r2"] and "accuracy" not in last
    curves = (run / "plots" / "curves.svg").read_text()
    assert "R2" in curves and "mean squared error" in curves and "error, %" not in curves
    labels = json.loads((runs("labels", "cbp") / "result.json").read_text())
    assert set(labels) >= {"test_mean_average_precision", "test_accuracy", "test_label_accuracy"}
    assert np.mean(labels["test_label_accuracy"]) == pytest.approx(labels["test_accuracy"])


def test_a_report_shows_the_figures_of_the_task(runs, tmp_path, capsys):
    run = runs("numbers", "rpr")
    assert main(["audit", "report", str(run), "-o", str(tmp_path / "a.html"), "--points", "2", "--checks", "0"]) == 0
    text, result = (tmp_path / "a.html").read_text(), json.loads((run / "result.json").read_text())
    assert "<th>mean squared error</th><th>R2</th>" in text and f"<td>{result['test_r2']:.4g}</td>" in text


def test_a_weight_is_explained_and_two_losses_are_compared(runs, capsys):
    assert main(["audit", "explain", str(runs("labels", "cbp")), "--step", "2", "--weight", "fc2.weight[0,0]"]) == 0
    assert "bit for bit" in capsys.readouterr().out
    assert main(["audit", "compare", str(runs("labels", "cbp")), str(runs("numbers", "cbp"))]) == 0
    assert "loss bce in A, mse in B" in capsys.readouterr().out


def test_another_loss_is_measured_without_the_weights_of_the_file_s_own(runs, capsys):
    assert main(["evaluate", str(runs("labels", "cbp")), "--loss", "mse"]) == 0
    assert "R2" in capsys.readouterr().out


def test_figures_of_two_float_networks_are_compared():
    a, b = ({"record": "float", "step": 1, "weights_sha256": "0", "figures": {"r2": value}} for value in ("0x1p-1",
                                                                                                        "0x1p-2"))
    assert list(differences_of(a, b, [], [])) == ["metric r2 0.5 in A, 0.25 in B"]


@pytest.fixture
def forged(runs, tmp_path):
    return shutil.copytree(runs("numbers", "cbp"), tmp_path / "run")


@pytest.mark.parametrize("figure", ["test_r2", "test_mean_squared_error", "validation_loss", "test_r2_float"])
def test_a_figure_that_was_not_measured_is_found(figure, forged):
    result = json.loads((forged / "result.json").read_text())
    result[figure] = 0.99
    (forged / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    with pytest.raises(AuditMismatch, match=f"result.json differs from the ledger in {figure}"):
        verify(forged)


def test_a_better_figure_in_a_whole_new_chain_is_found_by_measuring_again(forged):
    def better(records):
        next(record for record in records if record["record"] == "result")["figures"]["test_r2"] = 0.99

    rewrite(forged, better)
    with pytest.raises(AuditMismatch, match="test_r2 is .*, on record 0.99"):
        replay_final(Source(forged, {}))


def test_another_best_epoch_than_the_one_of_least_loss_is_found(forged):
    def other(records):
        epochs = [record for record in records if record["record"] == "epoch"]
        epochs[-1]["measured"]["validation_loss"], epochs[-2]["measured"]["validation_loss"] = "0x1p+9", "0x1p+8"

    rewrite(forged, other)
    with pytest.raises(AuditMismatch, match="best"):
        verify(forged)
