"""Every step on record: what a run's ledger holds, and that keeping it changes nothing."""
import re
import shutil

import h5py
import numpy as np
import pytest
from audit_runs import METHODS, read, resume, train

from tinyq import kernels
from tinyq.__main__ import main
from tinyq.audit import head_of
from tinyq.audit.ledger.digests import words_of
from tinyq.errors import AuditMismatch
from tinyq.packed.file import format as packed_format
from tinyq.run import checkpoint


@pytest.fixture(scope="module", params=METHODS)
def run(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / request.param
    return request.param, folder, train(folder, request.param)


def of_kind(folder, kind):
    return [line.record for line in read(folder / "ledger.jsonl") if line.kind == kind]


def test_there_is_a_record_for_every_step_in_order(run):
    _, folder, result = run
    steps = of_kind(folder, "step")
    assert [record["step"] for record in steps] == list(range(1, result["steps"] + 1))
    assert {"ids", "x", "ops", "g", "w", "lr", "metrics"} <= steps[0].keys()


def test_keeping_it_changes_no_bit(run, tmp_path):
    method, _, result = run
    for audit in ("off", "sha256", "full"):
        assert train(tmp_path / audit, method, audit)["weights_sha256"] == result["weights_sha256"]
    assert not (tmp_path / "off" / "ledger.jsonl").exists()


def test_a_step_takes_less_than_two_kibibytes(run):
    _, folder, _ = run
    lines = read(folder / "ledger.jsonl")
    sizes = [line.end - before.end for before, line in zip(lines, lines[1:], strict=False) if line.kind == "step"]
    assert max(sizes) < 2048


def test_the_head_is_in_the_result_the_model_and_the_checkpoints(run):
    _, folder, result = run
    heads = [line.head for line in read(folder / "ledger.jsonl")]
    assert head_of(folder) == result["ledger_head"] == heads[-1]
    end = next(line.head for line in read(folder / "ledger.jsonl") if line.kind == "end")
    with h5py.File(folder / "model.h5") as file:
        assert file.attrs["ledger_head"].decode() == end
    if (folder / "model.tq.h5").exists():
        assert packed_format.read(folder / "model.tq.h5").meta["ledger_head"] == end
    position, _, _ = checkpoint.load_newest(folder / "checkpoints")
    assert position.ledger_head in heads


def test_two_runs_have_the_same_steps(run, tmp_path):
    method, folder, _ = run
    train(tmp_path / "again", method)
    for kind in ("phase", "step", "epoch"):
        ours, theirs = of_kind(folder, kind), of_kind(tmp_path / "again", kind)
        assert [{**r, "prev": ""} for r in ours] == [{**r, "prev": ""} for r in theirs]


@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_run_goes_on_with_the_chain(method, tmp_path):
    whole = train(tmp_path / "whole", method)
    train(tmp_path / "parts", method, max_steps=whole["steps"] - 5)
    before = (tmp_path / "parts" / "ledger.jsonl").read_bytes()
    assert resume(tmp_path / "parts", max_steps=1000)["weights_sha256"] == whole["weights_sha256"]
    assert (tmp_path / "parts" / "ledger.jsonl").read_bytes().startswith(before)
    ours, theirs = of_kind(tmp_path / "whole", "step"), of_kind(tmp_path / "parts", "step")
    assert [{**r, "prev": ""} for r in ours] == [{**r, "prev": ""} for r in theirs]


@pytest.mark.parametrize("method", METHODS)
def test_the_size_of_all_arrays_is_announced_before_the_first_step(method, tmp_path, capsys):
    result = train(tmp_path / "run", method, "full", **({} if method == "rpr" else {"epochs": 2}))
    announced = re.findall(r"--audit full: (\w+) writes about ([\d.]+) MiB per step, (\d+) MiB in (\d+) steps",
                           capsys.readouterr().out)
    steps = of_kind(tmp_path / "run", "step")
    assert sum(int(count) for *_, count in announced) == len(steps) == result["steps"]
    for phase, size, total, count in announced:
        paths = [tmp_path / "run" / "steps" / f"step-{r['step']:09d}.h5" for r in steps if r["phase"] == phase]
        sizes = [path.stat().st_size / 2**20 for path in paths]
        assert len(paths) == int(count) and float(size) == pytest.approx(max(sizes), rel=0.02, abs=0.005)
        assert int(total) == pytest.approx(sum(sizes), rel=0.05, abs=0.5)       # of an epoch's last batch, less is kept


def test_the_steps_announced_are_those_to_come(tmp_path, capsys):
    train(tmp_path / "run", "backprop", "full", max_steps=9)
    resume(tmp_path / "run", max_steps=12)
    assert re.findall(r"in (\d+) steps", capsys.readouterr().out) == ["9", "3"]


def killed(folder, tmp_path, steps):
    """The run as a kill after so many steps would have left it: no model, the last checkpoint an older one."""
    train(folder, max_steps=14)
    train(tmp_path / "further", max_steps=steps)
    shutil.copy(tmp_path / "further" / "ledger.jsonl", folder / "ledger.jsonl")
    lines = read(folder / "ledger.jsonl")
    kept = next(i for i, line in enumerate(lines) if line.record.get("step") == steps and line.kind == "step")
    (folder / "ledger.jsonl").write_bytes((folder / "ledger.jsonl").read_bytes()[:lines[kept].end])
    position, states, _ = checkpoint.load_newest(folder / "checkpoints")
    position.ledger_head = next(line.head for line in reversed(lines)
                                if line.record.get("step") == 14 and line.kind == "checkpoint")
    checkpoint.save(folder / "checkpoints", position, states)


def test_a_killed_run_reproduces_the_steps_after_its_checkpoint(tmp_path):
    killed(tmp_path / "run", tmp_path, 17)
    result = resume(tmp_path / "run", max_steps=1000)
    (record,) = of_kind(tmp_path / "run", "resume")
    assert record["repeated"] == 5                                          # the float network, a phase, 3 steps
    assert len(of_kind(tmp_path / "run", "step")) == result["steps"]


def test_a_killed_run_that_goes_on_otherwise_says_so(tmp_path, monkeypatch):
    killed(tmp_path / "run", tmp_path, 17)
    monkeypatch.setattr(kernels, "sgd", lambda *arguments: None)
    with pytest.raises(AuditMismatch, match="repeated, differs from its record in w"):
        resume(tmp_path / "run", max_steps=1000)


@pytest.mark.parametrize("owner", ["model", "optimizer", "method"])
def test_an_exchanged_checkpoint_is_refused_before_anything_is_written(owner, tmp_path, capsys):
    folder = tmp_path / "run"
    train(folder, max_steps=30)
    position, states, _ = checkpoint.load_newest(folder / "checkpoints")
    name = max(states[owner], key=lambda name: np.size(states[owner][name]))
    states[owner][name] = states[owner][name] * 2 + 1
    checkpoint.save(folder / "checkpoints", position, states)
    before = (folder / "ledger.jsonl").read_bytes()
    assert main(["train", "--resume", str(folder), "--max-steps", "1000"]) == 76
    assert "is not the checkpoint on record (state_sha256)" in capsys.readouterr().err
    assert (folder / "ledger.jsonl").read_bytes() == before


def test_a_run_that_diverged_has_that_on_record(tmp_path):
    with pytest.raises(Exception, match="--pretrain-lr"):
        train(tmp_path / "run", pretrain_lr=1e30)
    assert "loss" in of_kind(tmp_path / "run", "exception")[0]["message"]


def test_words_are_the_bytes_of_an_array_in_c_order():
    for array in (np.arange(6, dtype=np.float32).reshape(2, 3).T, np.arange(5, dtype=np.uint8), np.array(1.5),
                  np.zeros((2, 0), np.float32), np.arange(12, dtype=np.int64)[::2]):
        data = np.ascontiguousarray(array).tobytes()
        assert words_of(array).tobytes() == data + bytes(-len(data) % 4) and words_of(array).dtype == np.uint32
