"""A run ends when its validation accuracy no longer gets better: resumed, on record, derived again."""
import json
import shutil

import pytest
from audit_runs import rewrite

from tinyq.__main__ import main
from tinyq.audit import observers_for
from tinyq.errors import BadInput, UsageError
from tinyq.files.journal import read_records
from tinyq.run import session
from tinyq.run.settings.resolve import resolve
from tinyq.schedules import EarlyStopping

STOPPING = {"model": "mlp:8,16", "data": "iris", "method": "cbp", "recipe": "none", "batch_size": 16, "lr": 0.05,
            "pretrain_epochs": 1, "epochs": 12, "cbp.lambda_lr": 0.05, "cbp.period": 1, "early_stopping": 2,
            "threads": 1, "workers": 0}


def train(folder, **changes):
    return session.start(resolve({**STOPPING, **changes, "output": str(folder)}), observers_for)[0]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopping") / "run"
    return folder, train(folder)


def accuracies(folder, phase="cbp"):
    return [record["validation_accuracy"] for record in read_records(folder / "metrics.jsonl")
            if record.get("phase") == phase and record["record"] == "epoch"]


def test_the_run_ends_two_epochs_after_its_best(stopped, capsys):
    folder, result = stopped
    found = accuracies(folder)
    assert result["ended_by"] == "early_stopping" and len(found) < 12
    assert found.index(max(found)) == len(found) - 3
    assert main(["audit", "verify", str(folder)]) == 0
    assert f"ended by early stopping after {1 + len(found)} of 13 epochs: 2 epochs without" in capsys.readouterr().out
    assert main(["audit", "replay", str(folder), "--all", "--final"]) == 0
    assert main(["train", "--resume", str(folder)]) == 0
    assert "already finished; nothing to do; early stopping ended it" in capsys.readouterr().out


@pytest.mark.parametrize("steps", [10, 21, 24])
def test_a_resumed_run_ends_at_the_same_epoch_with_the_same_bits(stopped, steps, tmp_path):
    train(tmp_path / "r", max_steps=steps)
    resumed, _ = session.resume(tmp_path / "r", {"max_steps": 1000}, observers_for)
    assert {**resumed, "seconds": 0, "ledger_head": ""} == {**stopped[1], "seconds": 0, "ledger_head": ""}
    assert main(["audit", "verify", str(tmp_path / "r")]) == 0


def test_a_run_that_stopped_early_takes_no_more_epochs(stopped, tmp_path, capsys):
    folder = shutil.copytree(stopped[0], tmp_path / "r")
    assert main(["train", "--resume", str(folder), "--epochs", "20"]) == 2
    assert "--epochs 20: early stopping ended the run, after 2 epochs without a better" in capsys.readouterr().err


def test_another_reason_for_the_end_is_no_forgery_that_passes(stopped, tmp_path, capsys):
    folder = shutil.copytree(stopped[0], tmp_path / "r")

    def say_epochs(records):
        records[-1]["figures"]["ended_by"] = "epochs"

    rewrite(folder, say_epochs)
    assert main(["audit", "verify", str(folder)]) == 76
    assert "says that epochs ended the run; its epochs on record end it by early_stopping" in capsys.readouterr().err


def test_epochs_after_the_end_are_no_forgery_that_passes(tmp_path, capsys):
    folder = tmp_path / "r"
    train(folder, early_stopping=0, epochs=6)

    def say_stopping(records):
        records[0]["settings"]["early_stopping"] = 1

    rewrite(folder, say_stopping)
    assert main(["audit", "verify", str(folder)]) == 76
    assert "comes after early stopping had ended the run: 1 epoch without" in capsys.readouterr().err
    result = json.loads((folder / "result.json").read_text())
    assert result["ended_by"] == "epochs"


@pytest.mark.parametrize("changes, says", [
    ({"method": "rpr", "epochs": 6, "opt": "adam"}, "--early-stopping: rpr divides its epochs when it begins"),
    ({"iris.validation": 0}, "--early-stopping: iris has no validation part"), ({"early_stopping": -1}, "at least 0")])
def test_early_stopping_that_cannot_be_is_refused(changes, says, tmp_path):
    given = {key: value for key, value in {**STOPPING, **changes}.items()
             if "method" not in changes or not key.startswith("cbp")}
    with pytest.raises(UsageError, match=says):
        session.start(resolve({**given, "output": str(tmp_path / "r")}))
    assert not (tmp_path / "r").exists()


def test_the_plan_says_when_it_ends(capsys):
    assert main("train --dry-run --model mlp:8,16 --data iris --method cbp --early-stopping 3".split()) == 0
    assert "after 3 epochs of cbp without a better validation figure" in capsys.readouterr().out


def test_equal_is_not_better_and_the_state_goes_on():
    stopping = EarlyStopping(2)
    for accuracy in (0.5, 0.7, 0.7):
        stopping.observe(accuracy)
    other = EarlyStopping(2)
    other.load_state(stopping.state())
    assert not other.done
    other.observe(0.6)
    assert other.done and EarlyStopping().state() == {}
    with pytest.raises(BadInput, match="state of early stopping does not fit"):
        other.load_state({"best": 1.0})
