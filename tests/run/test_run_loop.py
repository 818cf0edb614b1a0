import json
import os
import shlex
import signal
import time

import numpy as np
import pytest

from tinyq.errors import BadInput, Busy, CannotCreate, Diverged, InputOutputError, UsageError
from tinyq.files.atomic import write_text
from tinyq.files.journal import Journal, read_records
from tinyq.files.lock import locked
from tinyq.run import checkpoint, finish, loop, result, session
from tinyq.run.figures import curves
from tinyq.run.observers import float_baseline
from tinyq.run.observers.signals import Stopped, stop_request
from tinyq.run.settings.resolve import resolve
from tinyq.saved.measure import measure
from tinyq.saved.model_file import load_model

TINY = {"model": "mlp:8,16", "data": "iris", "method": "cbp", "recipe": "none", "batch_size": 16, "lr": 0.05,
        "pretrain_epochs": 2, "epochs": 3, "cbp.lambda_lr": 0.05, "cbp.period": 1, "threads": 1, "workers": 0}


def train(folder, **changes):
    return session.start(resolve({**TINY, **changes, "output": str(folder)}))[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    return train(folder), folder


def records(folder):
    return [{k: v for k, v in r.items() if k != "seconds"} for r in read_records(folder / "metrics.jsonl")]


def test_a_run_leaves_what_the_design_lists(whole):
    result, folder = whole
    names = {p.name for p in folder.iterdir()}
    assert {"config.toml", "metrics.jsonl", "checkpoints", "plots", "model.h5", "float.h5", "result.json"} <= names
    assert json.loads((folder / "result.json").read_text()) == result
    assert {"model", "data", "method", "levels", "seed", "steps", "seconds", "validation_accuracy",
            "test_accuracy_float", "test_accuracy", "on_levels", "bytes_float", "bytes_packed",
            "weights_sha256"} <= result.keys()
    assert result["on_levels"] == 1.0 and result["constrained_weights"] == 128
    assert result["steps"] == 5 * 7
    assert {p.name for p in (folder / "plots").iterdir()} == {"curves.svg", "levels.svg"}
    assert len(list((folder / "checkpoints").iterdir())) in (checkpoint.KEPT, checkpoint.KEPT + 1)


def test_the_records_tell_phase_epoch_figures_and_rate(whole):
    _, folder = whole
    epochs = [r for r in records(folder) if r["record"] == "epoch"]
    assert [(r["phase"], r["epoch"], r["step"]) for r in epochs] == [
        ("float", 1, 7), ("float", 2, 14), ("cbp", 3, 21), ("cbp", 4, 28), ("cbp", 5, 35)]
    for r in epochs:
        assert {"loss", "accuracy", "validation_loss", "validation_accuracy", "lr"} <= r.keys()
    assert "cfs_over_scale" in epochs[-1] and "cfs_over_scale" not in epochs[0]


def test_the_same_settings_give_the_same_weights_and_another_seed_others(whole, tmp_path):
    assert train(tmp_path / "a")["weights_sha256"] == whole[0]["weights_sha256"]
    assert train(tmp_path / "b", seed=1)["weights_sha256"] != whole[0]["weights_sha256"]


@pytest.mark.parametrize("steps", [3, 7, 14, 16, 33])
def test_a_run_that_stopped_anywhere_goes_on_bit_for_bit(whole, tmp_path, steps):
    train(tmp_path / "r", max_steps=steps)
    result, _ = session.resume(tmp_path / "r", {"max_steps": 1000})
    assert result["weights_sha256"] == whole[0]["weights_sha256"]
    assert result["test_accuracy_float"] == whole[0]["test_accuracy_float"]
    assert records(tmp_path / "r") == records(whole[1])


@pytest.mark.parametrize("changes", [{"schedule": "plateau", "lr_patience": 0, "opt": "adam", "accumulate": 3},
                                     {"method": "backprop", "schedule": "cosine", "warmup": 1.0, "pretrain_epochs": 0}])
def test_schedules_and_optimisers_are_resumed_as_well(tmp_path, changes):
    settings = {k: v for k, v in TINY.items() if changes.get("method") != "backprop" or not k.startswith("cbp")}
    flags = {**settings, **changes}
    straight, _ = session.start(resolve({**flags, "output": str(tmp_path / "s")}))
    session.start(resolve({**flags, "output": str(tmp_path / "r"), "max_steps": straight["steps"] // 2 + 1}))
    result, _ = session.resume(tmp_path / "r", {"max_steps": 1000})
    assert result["weights_sha256"] == straight["weights_sha256"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_after_the_step_and_the_run_can_go_on(whole, tmp_path, monkeypatch, number):
    step = loop.Loop._step

    def step_and_signal(self, *args):
        if self.position.steps == 16:
            os.kill(os.getpid(), number)
        step(self, *args)

    monkeypatch.setattr(loop.Loop, "_step", step_and_signal)
    with pytest.raises(Stopped, match="stopped after step 17; go on with: .* --resume") as stopped:
        train(tmp_path / "r")
    assert stopped.value.exit_code == 128 + number
    monkeypatch.undo()
    assert (tmp_path / "r" / "plots" / "curves.svg").exists() and not (tmp_path / "r" / "result.json").exists()
    assert session.resume(tmp_path / "r", {})[0]["weights_sha256"] == whole[0]["weights_sha256"]


@pytest.mark.parametrize("module, steps", [(loop, 7), (float_baseline, 14), (result, 35)],
                         ids=["validation", "test of the float network", "test at the end"])
def test_a_signal_during_an_evaluation_stops_it(whole, tmp_path, monkeypatch, module, steps):
    def measure_and_signal(*args, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        return measure(*args, **options)

    monkeypatch.setattr(module, "measure", measure_and_signal)
    with pytest.raises(Stopped, match=f"stopped after step {steps}; go on with: .* --resume"):
        train(tmp_path / "r", max_steps=35)
    monkeypatch.undo()
    assert session.resume(tmp_path / "r", {})[0]["weights_sha256"] == whole[0]["weights_sha256"]
    assert records(tmp_path / "r") == records(whole[1])


def full(*arguments):
    raise InputOutputError("x.h5: writing failed; free some space")


def test_a_full_disk_at_the_end_says_how_to_go_on(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(finish, "write_text", lambda path, text: full() if path.name == "result.json" else
                        write_text(path, text))
    with pytest.raises(InputOutputError, match=r"free some space; then go on with: .* --resume .*r$"):
        train(tmp_path / "r")
    monkeypatch.undo()
    assert session.resume(tmp_path / "r", {})[0]["weights_sha256"] == whole[0]["weights_sha256"]


def test_training_goes_on_when_nothing_can_be_saved(whole, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(checkpoint, "save", full)
    monkeypatch.setattr(Journal, "append", full)
    assert train(tmp_path / "r")["weights_sha256"] == whole[0]["weights_sha256"]
    out = capsys.readouterr().out                   # once by the loop, once for the float network: not at every epoch
    assert out.count("free some space; training continues, and older checkpoints stay") == 2


def test_the_float_baseline_that_finds_no_room_is_not_called_saved(whole, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(float_baseline.weight_files, "write",
                        lambda path, weights: full() if path.name == "float.h5" else None)
    assert train(tmp_path / "r")["test_accuracy_float"] == whole[0]["test_accuracy_float"]
    out = capsys.readouterr().out
    assert "free some space; training continues" in out and "%, not saved" in out


def test_a_full_disk_does_not_hide_what_stopped_the_run(tmp_path, monkeypatch):
    step = loop.Loop._step

    def signal_and_step(self, *arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        step(self, *arguments)

    monkeypatch.setattr(loop.Loop, "_step", signal_and_step)
    monkeypatch.setattr(curves, "write_all", full)
    with pytest.raises(Stopped):
        train(tmp_path / "r")


def test_a_checkpoint_is_saved_whenever_its_minutes_have_passed(whole, tmp_path, monkeypatch):
    saved, save, now = [], checkpoint.save, [0.0]

    def note(folder, position, states):
        saved.append(position.steps)
        return save(folder, position, states)

    def step_of_twenty_seconds(self, *arguments):
        now[0] += 20
        step(self, *arguments)

    step = loop.Loop._step
    monkeypatch.setattr(checkpoint, "save", note)
    monkeypatch.setattr(loop.Loop, "_step", step_of_twenty_seconds)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    assert train(tmp_path / "r", checkpoint_minutes=1.0)["weights_sha256"] == whole[0]["weights_sha256"]
    assert saved[:6] == [3, 6, 7, 10, 13, 14]
    saved.clear()
    train(tmp_path / "s", checkpoint_minutes=0.0)
    assert saved == [7, 14, 21, 28, 35]


def test_the_best_epoch_of_the_last_phase_is_kept(tmp_path, monkeypatch):
    accuracies = iter([0.9, 0.9, 0.5, 0.7, 0.7, 0.6, 0.6, 0.6])
    monkeypatch.setattr(loop, "measure", lambda *arguments, **options: type(
        "Said", (), {"recorded": {"loss": 1.0, "accuracy": next(accuracies)}}))
    train(tmp_path / "r", epochs=6)
    names = sorted(path.name for path in (tmp_path / "r" / "checkpoints").iterdir())
    assert [int(name[5:-3]) for name in names] == [28, 42, 49, 56]
    assert checkpoint.load_newest(tmp_path / "r" / "checkpoints")[0].best_figure == 0.7


def test_a_network_that_is_not_finite_takes_no_checkpoint_s_place(tmp_path, monkeypatch):
    step = loop.Loop._step

    def spoil(self, *arguments):
        step(self, *arguments)
        if self.position.steps == 14:
            self.job.model.parameters()[0].data[0, 0] = np.inf

    monkeypatch.setattr(loop.Loop, "_step", spoil)
    monkeypatch.setattr(loop, "measure", lambda *arguments, **options: type(
        "Said", (), {"recorded": {"loss": 1.0, "accuracy": 0.0}}))
    with pytest.raises(Diverged, match="is not finite"):
        train(tmp_path / "r")
    assert checkpoint.load_newest(tmp_path / "r" / "checkpoints")[0].steps == 7


def test_a_network_that_no_step_was_taken_with_is_not_shown_as_trained(whole, tmp_path):
    outcome = train(tmp_path / "0", epochs=0)
    assert not outcome["method_stepped"] and "ternary (cbp, no step taken) " in "\n".join(result.summary(outcome))
    assert whole[0]["method_stepped"] and "ternary (cbp) " in "\n".join(result.summary(whole[0]))


@pytest.mark.parametrize("steps", [0, 3, 7, 14])
def test_a_run_that_ends_before_its_last_phase_leaves_a_float_network_and_says_how_to_continue(whole, steps, tmp_path,
                                                                                               capsys):
    outcome = train(tmp_path / "r", max_steps=steps)
    command = capsys.readouterr().out.rpartition("to continue: python -m ")[2].split("\n")[0]
    assert outcome["on_levels"] is None and outcome["bytes_packed_file"] is None and outcome["steps"] == steps
    assert not (tmp_path / "r" / "model.tq.h5").exists() and not (tmp_path / "r" / "float.h5").exists()
    _, attributes = load_model(tmp_path / "r" / "model.h5")
    assert attributes["method"] == "backprop" and "levels" not in attributes
    train_command, resume, folder, flag, most = shlex.split(command)
    assert (train_command, resume, flag) == ("tinyq.train", "--resume", "--max-steps")
    session.resume(folder, {"max_steps": most})
    assert json.loads((tmp_path / "r" / "result.json").read_text())["weights_sha256"] == whole[0]["weights_sha256"]


def test_a_constrained_network_to_start_from_is_not_called_the_float_baseline(whole, tmp_path, capsys):
    outcome = train(tmp_path / "r", weights=str(whole[1]), pretrain_epochs=0, epochs=1)
    assert outcome["test_accuracy_float"] is None and not (tmp_path / "r" / "float.h5").exists()
    assert "which is constrained already" in capsys.readouterr().out


def test_after_one_signal_the_next_is_the_systems_again():
    before = signal.getsignal(signal.SIGTERM)
    with stop_request() as request:
        os.kill(os.getpid(), signal.SIGTERM)
        assert request.number == signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(whole, tmp_path, capsys):
    train(tmp_path / "r", max_steps=30)
    newest = max((tmp_path / "r" / "checkpoints").iterdir())
    newest.write_bytes(newest.read_bytes()[:-500])
    result, _ = session.resume(tmp_path / "r", {"max_steps": 1000})
    assert result["weights_sha256"] == whole[0]["weights_sha256"]
    assert "an older checkpoint is used" in capsys.readouterr().out


def test_a_flipped_bit_in_a_checkpoint_is_noticed(tmp_path):
    array = np.arange(100, dtype=np.float32)
    path = checkpoint.save(tmp_path, checkpoint.Position(steps=4), {"model": {"w": array}, "method": {"best": -np.inf}})
    position, states, complaints = checkpoint.load_newest(tmp_path)
    assert position.steps == 4 and np.array_equal(states["model"]["w"], array) and complaints == []
    assert states["method"]["best"] == -np.inf
    data = bytearray(path.read_bytes())
    data[data.index(array.tobytes()) + 9] ^= 4
    path.write_bytes(data)
    with pytest.raises(BadInput, match="no checkpoint to resume from; .* damaged"):
        checkpoint.load_newest(tmp_path)


def test_a_run_without_a_checkpoint_yet_starts_again(whole, tmp_path):
    train(tmp_path / "r", max_steps=3)
    for path in (tmp_path / "r" / "checkpoints").iterdir():
        path.unlink()
    assert session.resume(tmp_path / "r", {"max_steps": 99})[0]["weights_sha256"] == whole[0]["weights_sha256"]


def test_what_changes_no_bit_may_be_changed_on_resume_and_nothing_else(whole, tmp_path):
    train(tmp_path / "r", max_steps=10)
    with pytest.raises(UsageError, match="--lr: cannot be changed by --resume"):
        session.resume(tmp_path / "r", {"lr": "0.1"})
    changes = {"max_steps": "99", "workers": "2", "print_freq": "5"}
    assert session.resume(tmp_path / "r", changes)[0]["weights_sha256"] == whole[0]["weights_sha256"]
    steps = [r for r in records(tmp_path / "r") if r["record"] == "step"]
    assert len(steps) == 35 // 5 - 10 // 5 and all("objective" in r and "loss" not in r for r in steps)


def test_an_edited_configuration_is_not_resumed(tmp_path):
    train(tmp_path / "r", max_steps=10)
    path = tmp_path / "r" / "config.toml"
    path.write_text(path.read_text().replace("lr = 0.05", "lr = 0.5", 1))
    with pytest.raises(BadInput, match=r"config\.toml: the settings .* those of the checkpoint \(.*was 0\.05, is 0\.5"):
        session.resume(tmp_path / "r", {})


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(CannotCreate, match="not empty and not a run; choose another --output"):
        train(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_holds_one_run_and_one_process(whole, tmp_path):
    with pytest.raises(CannotCreate, match="contains a run already"):
        train(whole[1])
    with pytest.raises(BadInput, match=r"no config\.toml here"):
        session.resume(tmp_path, {})
    with locked(whole[1]), pytest.raises(Busy):
        session.resume(whole[1], {})


def test_a_second_method_starts_from_the_saved_float_baseline(whole, tmp_path):
    result = train(tmp_path / "r", levels="binary", weights=str(whole[1] / "float.h5"), pretrain_epochs=0)
    assert result["test_accuracy_float"] == whole[0]["test_accuracy_float"] and result["steps"] == 21


def test_accumulated_batches_make_one_step(tmp_path):
    accumulated = train(tmp_path / "a", accumulate=2, epochs=1, pretrain_epochs=0)
    assert accumulated["steps"] == 4                                    # 7 batches: 2 + 2 + 2 + 1
    wide = train(tmp_path / "w", batch_size=32, epochs=1, pretrain_epochs=0)
    a, w = (read_records(tmp_path / name / "metrics.jsonl")[0]["loss"] for name in "aw")
    assert accumulated["steps"] == wide["steps"]
    assert a == pytest.approx(w, rel=1e-5)                              # this network has no batch norm


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    with pytest.raises(Diverged, match="cbp phase, step .* try a lower learning rate .--lr.; first NaN or infinity: "):
        train(tmp_path / "r", lr=1e30, pretrain_epochs=0)
    with pytest.raises(Diverged, match="float phase, step .* try a lower learning rate .--pretrain-lr."):
        train(tmp_path / "f", pretrain_lr=1e30)


def test_a_run_with_validation_folded_in_has_no_validation_figures(tmp_path):
    result = train(tmp_path / "r", **{"iris.validation": 0})
    assert result["validation_accuracy"] is None
    assert result["samples"] == {"train": 120, "test": 30}
    assert "validation_loss" not in read_records(tmp_path / "r" / "metrics.jsonl")[0]


def test_a_mistake_leaves_nothing_in_the_way_of_the_next_try(whole, tmp_path):
    with pytest.raises(UsageError):
        train(tmp_path / "r", model="lenet")
    with pytest.raises(UsageError, match="--constrain all"):
        train(tmp_path / "r", model="logistic")
    assert not (tmp_path / "r").exists()
    with pytest.raises(UsageError, match="clamps"):                     # found out when the method begins
        train(tmp_path / "r", pretrain_epochs=0, levels="-99,0,99")
    assert train(tmp_path / "r")["weights_sha256"] == whole[0]["weights_sha256"]
