"""A step examined in float64, its arrays written out, and checks made while training."""
import shutil

import h5py
import numpy as np
import pytest
from audit_runs import METHODS, read, train

from tinyq import kernels
from tinyq.__main__ import main
from tinyq.audit.step.step_check import Checked, _within
from tinyq.audit.verification.verify import verify
from tinyq.autodiff import linalg
from tinyq.errors import AuditMismatch
from tinyq.output import work


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return {method: (folder / method, train(folder / method, method)) for method in METHODS}


@pytest.mark.parametrize("method, step", [("cbp", 5), ("cbp", 30), ("rpr", 30), ("backprop", 3), ("conntra", 25)])
def test_a_step_of_each_method_passes(method, step, runs, capsys):
    assert main(["audit", "check", str(runs[method][0]), "--step", str(step)]) == 0
    assert "no fault" in capsys.readouterr().out


def test_a_check_says_how_far_its_operations_and_the_whole_loss_have_come(runs, capsys, monkeypatch):
    monkeypatch.setattr(work, "SECONDS", 0)
    monkeypatch.setattr(work, "_watch", lambda all_done: None)
    assert main(["audit", "check", str(runs["backprop"][0]), "--step", "1"]) == 0
    said = capsys.readouterr().err.splitlines()
    for what, pieces in (("check of step 1", "operations"), ("check of step 1, whole loss", "tensors")):
        lines = [line for line in said if line.startswith(f"{what}: ")]
        number = len(lines)
        assert lines[-1] == f"{what}: {number} of {number} {pieces}, about 0 s left" and number > 1


def test_an_array_of_another_shape_is_a_fault():
    checked = Checked(1)
    _within(checked, np.zeros(3), np.zeros((3, 1)), np.ones((3, 1)), "the output")
    assert checked.faults == ["the output has shape (3,), in float64 (3, 1)"]


def test_surrogates_are_named(runs, capsys):
    main(["audit", "check", str(runs["rpr"][0]), "--step", "30"])
    out = capsys.readouterr().out
    assert "fc2.weight gets a surrogate gradient: cosine 0." in out and "fc1.weight gets" not in out


def test_a_dump_holds_every_array_of_the_step(runs, tmp_path, capsys):
    folder, _ = runs["cbp"]
    assert main(["audit", "replay", str(folder), "--step", "35", "--dump", str(tmp_path / "step.h5")]) == 0
    with h5py.File(tmp_path / "step.h5") as file:
        assert {"input", "primitives", "before", "after", "gradients", "update"} <= set(file)
        for name in ("fc1.weight", "fc2.weight", "fc3.bias"):
            moved = file[f"after/weights/{name}"][()] - file[f"before/weights/{name}"][()]
            assert np.array_equal(moved, file[f"update/step/{name}"][()])
        assert set(file["update"]) == {"true", "surrogate", "constraint", "clip", "decay", "momentum", "step",
                                       "projection"}
        outputs = [name for name in file["primitives"] if "output" in file[f"primitives/{name}"]]
        assert any("linear of fc2.weight" in name for name in outputs)
    with h5py.File(folder / "checkpoints" / "step-000000035.h5") as file, h5py.File(tmp_path / "step.h5") as dumped:
        assert np.array_equal(file["model/fc2.weight"][()], dumped["after/weights/fc2.weight"][()])


def test_full_keeps_every_step_and_says_how_much_before_the_first(tmp_path, capsys):
    result = train(tmp_path / "run", audit="full", max_steps=16)
    out = capsys.readouterr().out
    assert "MiB per step" in out and out.index("MiB per step") < out.index("float    epoch")
    assert len(list((tmp_path / "run" / "steps").iterdir())) == result["steps"] == 16
    assert train(tmp_path / "off", audit="off", max_steps=16)["weights_sha256"] == result["weights_sha256"]
    verify(tmp_path / "run")


def test_checks_while_training_are_on_record_and_change_nothing(runs, tmp_path):
    result = train(tmp_path / "run", audit_every=12)
    assert result["weights_sha256"] == runs["cbp"][1]["weights_sha256"]
    checks = [line.record for line in read(tmp_path / "run" / "ledger.jsonl") if line.kind == "check"]
    assert [record["step"] for record in checks] == [12, 24] and all(record["faults"] == [] for record in checks)
    verify(tmp_path / "run")


def test_a_fault_ends_training_and_leaves_the_step_behind(tmp_path, monkeypatch):
    right = kernels.sgd
    monkeypatch.setattr(kernels, "sgd", lambda w, g, *rest: right(w, g * np.float32(1.0001), *rest))
    with pytest.raises(AuditMismatch, match=r"step 2: the update of fc1.weight: .*step-000000002.h5"):
        train(tmp_path / "run", audit_every=2)
    with h5py.File(tmp_path / "run" / "audit" / "step-000000002.h5") as file:
        assert "the update of" in file.attrs["faults"].decode()
    assert [line.kind for line in read(tmp_path / "run" / "ledger.jsonl")][-1] == "check"


def test_the_command_ends_with_76(runs, tmp_path, monkeypatch, capsys):
    folder, _ = runs["cbp"]
    rule = linalg.linear.forward
    with monkeypatch.context() as patch:
        patch.setattr(linalg.linear, "forward", lambda *a, **k: biased(rule(*a, **k), a[0].dtype))
        assert main(["audit", "check", str(folder), "--step", "29"]) == 76
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "step 29: the vjp of linear" in err and "rounding explains only" in err


def test_the_arrays_of_a_fault_are_written_through_no_link(runs, tmp_path, monkeypatch, capsys):
    folder = shutil.copytree(runs["cbp"][0], tmp_path / "run")
    shutil.rmtree(folder / "audit", ignore_errors=True)
    (tmp_path / "elsewhere").mkdir()
    (folder / "audit").symlink_to(tmp_path / "elsewhere")
    rule = linalg.linear.forward
    with monkeypatch.context() as patch:
        patch.setattr(linalg.linear, "forward", lambda *a, **k: biased(rule(*a, **k), a[0].dtype))
        assert main(["audit", "check", str(folder), "--step", "29"]) == 76
    assert "could not be saved" in (err := capsys.readouterr().err) and "audit: is a link" in err
    assert not any((tmp_path / "elsewhere").iterdir())


def biased(result, dtype):
    """A wrong float32 gradient of the bias, while float64's is right."""
    y, (to_x, to_w, to_scale, to_bias) = result
    return y, (to_x, to_w, to_scale, lambda g: to_bias(g) * dtype.type(1.001 if dtype == np.float32 else 1))
