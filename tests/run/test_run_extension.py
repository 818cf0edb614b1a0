"""A run is extended: more epochs from where it ended, on record, and true to its ledger."""
import json
import re
import shutil

import numpy as np
import pytest

from tinyq.__main__ import main
from tinyq.audit import observers_for
from tinyq.errors import InputOutputError
from tinyq.files import weights as weight_files
from tinyq.files.journal import read_records
from tinyq.run import checkpoint, finish, session
from tinyq.run.checkpoint_network import load_network
from tinyq.run.settings import extension
from tinyq.run.settings.resolve import resolve
from tinyq.saved.model_file import load_model, shown_state

TINY = {"model": "mlp:8,16", "data": "iris", "method": "cbp", "recipe": "none", "batch_size": 16, "lr": 0.05,
        "pretrain_epochs": 1, "epochs": 2, "cbp.lambda_lr": 0.05, "cbp.period": 1, "threads": 1, "workers": 0}


def train(folder, **changes):
    return session.start(resolve({**TINY, **changes, "output": str(folder)}), observers_for)[0]


def resume(folder, **changes):
    return session.resume(folder, changes, observers_for)[0]


def agrees(folder, capsys):
    """What verify says of a run that verify and a replay of everything accept."""
    capsys.readouterr()
    assert main(["audit", "verify", str(folder)]) == 0, capsys.readouterr().err
    found = capsys.readouterr().out
    assert main(["audit", "replay", str(folder), "--all", "--final"]) == 0, capsys.readouterr().err
    assert main(["audit", "replay", str(folder), "--step", "1"]) == 0
    return found


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    folder = tmp_path_factory.mktemp("extension") / "run"
    train(folder)
    return folder


def test_a_constant_rate_gives_the_bits_of_a_run_of_that_length(short, tmp_path, capsys):
    folder = shutil.copytree(short, tmp_path / "r")
    result, whole = resume(folder, epochs=4), train(tmp_path / "whole", epochs=4)
    assert result["weights_sha256"] == whole["weights_sha256"] and result["steps"] == 7 * 5
    epochs = [record["epoch"] for record in read_records(folder / "metrics.jsonl") if record["record"] == "epoch"]
    assert epochs == [1, 2, 3, 4, 5]
    found = agrees(folder, capsys)
    assert "extended at step 21 to 4 epochs of cbp" in found and "but for the epochs, unchanged" in found


def test_the_schedule_goes_on_as_that_of_the_new_length(tmp_path, capsys):
    """Ended within an epoch, extended twice, with a rate that depends on the number of epochs."""
    folder = tmp_path / "r"
    train(folder, schedule="cosine", max_steps=17)
    resume(folder, epochs=3, max_steps=24)
    assert agrees(folder, capsys).count("extended at step") == 1
    resume(folder, epochs="5", max_steps=1000)
    records = [record for record in read_records(folder / "metrics.jsonl") if record["record"] == "epoch"]
    whole = train(tmp_path / "whole", schedule="cosine", epochs=5)
    rates = [record["lr"] for record in read_records(tmp_path / "whole" / "metrics.jsonl") if "lr" in record]
    assert [record["lr"] for record in records][-2:] == rates[-2:] and len(records) == 6 and whole["steps"] == 42
    assert agrees(folder, capsys).count("extended at step") == 2


def test_config_keeps_what_the_run_began_with(short, tmp_path):
    folder = shutil.copytree(short, tmp_path / "r")
    began = (folder / "config.toml").read_text()
    for epochs in (3, 4):
        resume(folder, epochs=epochs)
    text = (folder / "config.toml").read_text()
    assert extension.restored(text) == (began, [(21, 3), (28, 4)]) and extension.epochs_in(text) == 4
    assert extension.before(text, 3) == extension.extended(began, 3, 21) and extension.before(text, 2) == began
    assert extension.restored(began) == (began, []) and extension.epochs_in("lr = 1") is None


@pytest.mark.parametrize("changes, says", [
    ({"epochs": 2}, "--epochs 2: the run has 2 epochs; give more"), ({"epochs": "x"}, "must be a whole number"),
    ({"epochs": 4, "max_steps": 10}, "--max-steps 10 ends the run before; raise that too"),
    ({"lr": 1.0}, "--lr: cannot be changed by --resume")])
def test_an_extension_that_cannot_be_is_refused_and_changes_nothing(changes, says, short, tmp_path, capsys):
    folder = shutil.copytree(short, tmp_path / "r")
    flags = [text for key, value in changes.items() for text in (f"--{key.replace('_', '-')}", str(value))]
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert main(["train", "--resume", str(folder), *flags]) == 2
    assert says in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_what_divides_its_epochs_is_not_extended_and_the_remedy_works(tmp_path, capsys):
    folder = tmp_path / "r"
    settings = {key: value for key, value in TINY.items() if not key.startswith("cbp.")}
    session.start(resolve({**settings, "method": "rpr", "epochs": 5, "output": str(folder)}), observers_for)
    assert main(["train", "--resume", str(folder), "--epochs", "9"]) == 2
    said = capsys.readouterr().err
    start = re.search(r"--weights (\S+)\n", said)[1]
    assert main(f"train --model mlp:8,16 --data iris --method rpr --recipe none --epochs 5 --weights {start} "
                f"--output {tmp_path / 'again'}".split()) == 0


def test_a_run_that_was_killed_behind_its_checkpoint_is_continued_first(short, tmp_path, capsys):
    folder = shutil.copytree(short, tmp_path / "r")
    max((folder / "checkpoints").iterdir()).unlink()
    (folder / "result.json").unlink()
    assert main(["train", "--resume", str(folder), "--epochs", "4"]) == 2
    assert f"continue the run first: python -m tinyq.train --resume {folder}" in capsys.readouterr().err
    resume(folder)
    resume(folder, epochs=4)
    agrees(folder, capsys)


def test_an_extension_that_was_killed_is_given_again(short, tmp_path, monkeypatch, capsys):
    folder = shutil.copytree(short, tmp_path / "r")

    def die(*arguments):
        raise InputOutputError("killed here")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", die)
        with pytest.raises(InputOutputError):
            resume(folder, epochs=9)
    assert resume(folder, epochs=3)["steps"] == 28
    assert "extended at step 21 to 3 epochs" in agrees(folder, capsys)


def test_a_run_without_a_ledger_is_extended_too(tmp_path):
    train(tmp_path / "r", audit="off")
    assert resume(tmp_path / "r", epochs=3)["steps"] == 28 and resume(tmp_path / "r")["steps"] == 28


def test_a_finished_run_is_over_whatever_its_steps(short, tmp_path, capsys):
    folder = shutil.copytree(short, tmp_path / "r")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for flags in ([], ["--max-steps", "5"], ["--max-steps", "99"]):
        assert main(["train", "--resume", str(folder), *flags]) == 0
        assert "already finished; nothing to do; to train longer: python -m tinyq.train" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    train(tmp_path / "s", max_steps=10)
    head = (tmp_path / "s" / "ledger.jsonl").read_bytes()
    for flags in ([], ["--max-steps", "10"]):
        assert main(["train", "--resume", str(tmp_path / "s"), *flags]) == 0
        assert "--max-steps ended it; more of them continue it" in capsys.readouterr().out
    assert (tmp_path / "s" / "ledger.jsonl").read_bytes() == head


def test_the_best_epoch_s_network_is_kept_with_its_facts(short, tmp_path):
    folder = shutil.copytree(short, tmp_path / "r")
    model, attributes = load_model(folder / "best.h5")
    records = [r for r in read_records(folder / "metrics.jsonl") if r["record"] == "epoch" and r["phase"] == "cbp"]
    best = max(records, key=lambda record: record["validation_accuracy"])
    assert (attributes["epoch"], attributes["validation_accuracy"]) == (best["epoch"], best["validation_accuracy"])
    ours, _ = load_network(checkpoint.path_of(folder / "checkpoints", best["step"]))
    for name, array in shown_state(model).items():
        assert np.array_equal(array, shown_state(ours)[name])


def test_without_validation_there_is_no_best_network(tmp_path):
    train(tmp_path / "r", **{"iris.validation": 0})
    assert not (tmp_path / "r" / "best.h5").exists()


def test_a_best_network_that_cannot_be_made_leaves_the_result(tmp_path, monkeypatch, capsys):
    def full(*arguments):
        raise InputOutputError("disk full")

    monkeypatch.setattr(finish, "best_weights", full)
    result = train(tmp_path / "r")
    assert "tinyq: no best.h5: disk full" in capsys.readouterr().out
    assert json.loads((tmp_path / "r" / "result.json").read_text())["weights_sha256"] == result["weights_sha256"]
    assert weight_files.read(tmp_path / "r" / "model.h5") and not (tmp_path / "r" / "best.h5").exists()
