"""RPR in a whole run: resumed anywhere, with and without validation, its file and its figures."""
import json

import numpy as np
import pytest

from tinyq.__main__ import main as tinyq
from tinyq.errors import UsageError
from tinyq.files.journal import read_records
from tinyq.files.weights import find_codes
from tinyq.run import result, session
from tinyq.run.build import build
from tinyq.run.settings.resolve import resolve
from tinyq.saved import model_file

TINY = {"model": "mlp:8,16", "data": "iris", "method": "rpr", "recipe": "none", "batch_size": 16, "opt": "adam",
        "lr": 0.01, "pretrain_epochs": 2, "epochs": 8, "rpr.patience": 2, "threads": 1, "workers": 0}


def train(folder, **changes):
    return session.start(resolve({**TINY, **changes, "output": str(folder)}))[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rpr") / "run"
    return train(folder), folder


def records(folder):
    return [{k: v for k, v in r.items() if k != "seconds"} for r in read_records(folder / "metrics.jsonl")]


def test_the_frozen_fraction_is_on_record_and_ends_at_1(whole):
    outcome, folder = whole
    epochs = [r for r in records(folder) if r["record"] == "epoch" and r["phase"] == "rpr"]
    frozen = [r["frozen"] for r in epochs]
    assert set(frozen[:-5]) == {0.9} and frozen[-5:] == [0.95, 0.975, 0.9875, 1.0, 1.0]
    assert epochs[0]["lr"] == 0.01 and epochs[-1]["lr"] == 0.01 * 0.1
    assert outcome["on_levels"] == 1.0 and outcome["constrained_weights"] == 128


@pytest.mark.parametrize("steps", [3, 14, 17, 30, 45, 52])
def test_a_run_that_stopped_anywhere_goes_on_bit_for_bit(whole, tmp_path, steps):
    train(tmp_path / "r", max_steps=steps)
    outcome, _ = session.resume(tmp_path / "r", {"max_steps": 1000})
    assert outcome["weights_sha256"] == whole[0]["weights_sha256"]
    assert records(tmp_path / "r") == records(whole[1])


def test_a_run_without_a_validation_part_keeps_to_fixed_lengths(tmp_path):
    train(tmp_path / "r", **{"iris.validation": 0})
    frozen = [r["frozen"] for r in records(tmp_path / "r") if "frozen" in r]
    assert frozen == [0.9] * 3 + [0.95, 0.975, 0.9875, 1.0, 1.0]


def test_the_saved_network_has_a_scale_a_filter_and_computes_the_same_bits(whole):
    outcome, folder = whole
    model, attributes = model_file.load_model(folder / "model.h5")
    assert attributes["method"] == "rpr"
    (name, view), = model_file.views(model).items()
    w = dict(model.named_parameters())[name].data
    assert view.scale.shape == (16,) and len(set(view.scale.tolist())) > 1
    assert find_codes(w, view.scale, view.level_set.values.astype(np.float32)).shape == w.shape
    assert outcome["bytes_packed"] == outcome["bytes_float"] - 128 * 4 + 128 // 4 + 16 * 4


def test_evaluate_and_summary_take_the_network(whole, capsys):
    outcome, folder = whole
    assert tinyq(["evaluate", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["top1"] == outcome["test_accuracy"]
    assert tinyq(["summary", str(folder / "model.h5"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["totals"]["bytes_scales"] == 16 * 4


def test_the_histogram_is_in_units_of_the_scale_before_and_after_the_finish():
    job = build(resolve({**TINY, "pretrain_epochs": 0}).config)
    phase = job.phases[-1]
    phase.method.begin(job.model, phase.optimizer, job.bundle.train, job.streams)
    (name, before), = result.histograms(job.model).items()
    w = dict(job.model.named_parameters())[name].data
    assert np.array_equal(before["counts"], np.histogram(w, before["edges"])[0])     # RPR's latent is in those units
    assert before["counts"].sum() + before["outside"] == 128 and before["counts"].sum() > 100
    phase.method.finish()
    after = result.histograms(job.model)[name]
    bins = np.digitize([-1, 0, 1], after["edges"]) - 1
    assert after["counts"][bins].sum() == after["counts"].sum() == 128


def test_too_few_epochs_are_refused_before_anything_is_trained(tmp_path):
    with pytest.raises(UsageError, match="^--epochs must be at least 5"):
        train(tmp_path / "r", epochs=4)
    assert not (tmp_path / "r").exists()
