"""What happens to a run at its edges: nothing left of a batch, a stop at the end of an epoch, a rate that hears."""
import json
import os
import signal

import numpy as np
import pytest
from PIL import Image

from tinyq import kernels
from tinyq.errors import BadInput, InputOutputError, TinyqError, UsageError
from tinyq.files.journal import read_records
from tinyq.run import finish, loop, result, session
from tinyq.run.observers.signals import Stopped
from tinyq.run.settings.resolve import resolve
from tinyq.saved.run_folder import PACKED_FILE

IRIS = {"model": "mlp:8,16", "data": "iris", "method": "backprop", "recipe": "none", "batch_size": 16, "lr": 0.05,
        "epochs": 3, "threads": 1, "workers": 0}


def train(folder, **changes):
    return session.start(resolve({**IRIS, **changes, "output": str(folder)}))[0]


@pytest.fixture
def pictures(tmp_path):
    """Twelve small pictures of two classes to train on, one of which cannot be read."""
    rng = np.random.Generator(np.random.Philox(0))
    for part, count in (("train", 12), ("val", 2)):
        for k in range(count):
            folder = tmp_path / "pictures" / part / "ab"[k % 2]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / f"{k}.png")
    (tmp_path / "pictures" / "train" / "a" / "6.png").write_bytes(b"broken")
    return {"data": "imagefolder", "data_path": str(tmp_path / "pictures"), "model": "mlp:4", "batch_size": 1,
            "epochs": 2, "imagefolder.size": 8, "imagefolder.resize": 8, "imagefolder.validation": 0,
            "imagefolder.bad_image": "skip"}


def test_a_run_whose_batch_was_skipped_goes_on_bit_for_bit(pictures, tmp_path):
    whole = train(tmp_path / "whole", **pictures)
    assert whole["steps"] == 2 * 11
    for steps in range(1, 22, 2):
        folder = tmp_path / f"r{steps}"
        train(folder, **pictures, max_steps=steps)
        resumed = session.resume(folder, {"max_steps": 99})[0]
        assert resumed["weights_sha256"] == whole["weights_sha256"]
        assert resumed["skipped"] == whole["skipped"] == {"test": 0, "train": 1}
    assert "unreadable images left out: 1" in result.summary(whole)


def test_an_image_skipped_before_is_counted_after_a_resume(pictures, tmp_path):
    """Also where the rest of the run has no use for it."""
    pictures["epochs"] = 1
    train(tmp_path / "r", **pictures, max_steps=11)
    assert session.resume(tmp_path / "r", {"max_steps": 99})[0]["skipped"] == {"test": 0, "train": 1}


def test_a_signal_while_the_epoch_ends_stops_before_the_next(tmp_path, monkeypatch):
    measure = loop.measure

    def measure_and_signal(*arguments, **options):
        scores = measure(*arguments, **options)
        os.kill(os.getpid(), signal.SIGINT)
        return scores

    monkeypatch.setattr(loop, "measure", measure_and_signal)
    with pytest.raises(Stopped, match="stopped after step 7; go on"):
        train(tmp_path / "r")
    monkeypatch.undo()
    assert len(read_records(tmp_path / "r" / "metrics.jsonl")) == 1
    resumed = session.resume(tmp_path / "r", {})[0]
    assert resumed["weights_sha256"] == train(tmp_path / "whole")["weights_sha256"]


@pytest.mark.parametrize("error", [UsageError("no such form"), BadInput("no range"), InputOutputError("disk full"),
                                   TinyqError("a fault"), MemoryError()], ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("part", ["pack_model", "packed_files.write"])
def test_a_network_that_cannot_be_packed_has_its_result_all_the_same(part, error, tmp_path, monkeypatch, capsys):
    whole = train(tmp_path / "whole", method="rpr", epochs=5, levels="ternary")
    assert whole["bytes_packed_file"] == (tmp_path / "whole" / PACKED_FILE).stat().st_size

    def fail(*arguments, **options):
        (tmp_path / "r" / PACKED_FILE).write_bytes(b"of an earlier end")
        raise error

    monkeypatch.setattr(finish.packed_files if "write" in part else finish, part.rpartition(".")[2], fail)
    result = train(tmp_path / "r", method="rpr", epochs=5, levels="ternary")
    said = capsys.readouterr().out
    assert f"no {PACKED_FILE}: {error if str(error) else 'out of memory'}" in said
    passes = isinstance(error, InputOutputError | MemoryError)
    assert ("; then make one with: python -m tinyq.pack" in said) == passes
    assert result["bytes_packed_file"] is None and result["weights_sha256"] == whole["weights_sha256"]
    assert json.loads((tmp_path / "r" / "result.json").read_text())["weights_sha256"] == whole["weights_sha256"]
    assert (tmp_path / "r" / "model.h5").is_file() and not (tmp_path / "r" / PACKED_FILE).exists()


def test_a_plateau_hears_the_validation_accuracy(tmp_path, monkeypatch):
    accuracies = iter([0.5, 0.6, 0.6, 0.7, 0.7])
    measure = loop.measure

    def said(*arguments, **options):
        scores = measure(*arguments, **options)
        right = next(accuracies)
        return type("Said", (), {"recorded": {"loss": scores.loss, "accuracy": right}})

    monkeypatch.setattr(loop, "measure", said)
    train(tmp_path / "r", schedule="plateau", lr_patience=0, lr_gamma=0.5, lr=0.08, epochs=5)
    rates = [record["lr"] for record in read_records(tmp_path / "r" / "metrics.jsonl")]
    assert rates == [0.08, 0.08, 0.08, 0.04, 0.04]


def test_a_machine_that_computes_otherwise_trains_nothing(tmp_path, monkeypatch):
    def refuse():
        raise TinyqError("this processor flushes small numbers to zero")

    monkeypatch.setattr(kernels, "verify_arithmetic", refuse)
    with pytest.raises(TinyqError, match="flushes small numbers"):
        train(tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_resuming_a_finished_run_changes_nothing(tmp_path, capsys):
    settings = {"model": "mlp:4", "data": "iris", "epochs": 2, "output": str(tmp_path / "run")}
    made, folder = session.start(resolve(settings))
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    again, _ = session.resume(folder, {})
    assert again == json.loads(before["result.json"]) and "already finished" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    (folder / "model.h5").unlink()
    assert session.resume(folder, {})[0]["weights_sha256"] == made["weights_sha256"]
    assert (folder / "model.h5").is_file()
