"""A run folder is checked against its ledger: every change in it is found."""
import json
import runpy
import shutil
import sys

import h5py
import numpy as np
import pytest
from audit_runs import METHODS, of_step, read, resume, rewrite, train, write_ledger

from tinyq.__main__ import main
from tinyq.audit import __main__ as audit_command
from tinyq.audit.replay.final import replay_final
from tinyq.audit.replay.replay import replay
from tinyq.audit.replay.rerun import Source
from tinyq.audit.verification.verify import verify
from tinyq.errors import AuditMismatch, BadInput, UsageError
from tinyq.files.lock import locked
from tinyq.output.counting import counted
from tinyq.run import checkpoint, finish


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("original") / "run"
    train(folder)
    return folder


@pytest.fixture
def run(original, tmp_path):
    return shutil.copytree(original, tmp_path / "run")


@pytest.mark.parametrize("audit", ["digests", "sha256"])
@pytest.mark.parametrize("method", METHODS)
def test_a_run_agrees_with_its_ledger(method, audit, tmp_path):
    train(tmp_path / "run", method, audit)
    found = verify(tmp_path / "run")
    assert [line.partition(":")[0] for line in found] == [
        "chain", "rules", "metrics", "configuration", "files", "checkpoints",
        *(["float network"] if method != "backprop" else []), "model", *(["best"] if method != "conntra" else []),
        *(["packed"] if method != "backprop" else []),
        "result", "plots", "not audited, the owner's word"]


def test_a_run_that_was_stopped_and_resumed_is_too(tmp_path):
    train(tmp_path / "run", max_steps=17)
    verify(tmp_path / "run")
    resume(tmp_path / "run", max_steps=25)
    resume(tmp_path / "run", max_steps=1000)
    found = verify(tmp_path / "run")
    assert "result: its figures are those on record; replay --final measures them again" in found
    assert found[-3:-1] == ["resumed 2 times, at step 17, 25: replay --all compares the checkpoint there",
                            "2 earlier ends on record; only the last end is derived"]


@pytest.mark.parametrize("steps", [0, 3, 14])
def test_a_run_that_ends_before_its_last_phase_is_too_and_can_be_continued(steps, tmp_path):
    train(tmp_path / "run", max_steps=steps)
    assert "model: names this ledger's end; 0 constrained weights" in "\n".join(verify(tmp_path / "run"))
    if steps:
        assert replay(Source(tmp_path / "run", {}), range(1, steps + 1)).compared == steps
    assert len(replay_final(Source(tmp_path / "run", {}))) == (4 if steps == 14 else 3)
    resume(tmp_path / "run", max_steps=1000)
    verify(tmp_path / "run")
    assert replay(Source(tmp_path / "run", {}), range(1, 36)).compared == 35


def test_a_replay_wants_the_file_that_the_run_started_from(run, tmp_path):
    train(tmp_path / "next", weights=str(run / "float.h5"), pretrain_epochs=0, epochs=1)
    verify(tmp_path / "next")
    assert replay(Source(tmp_path / "next", {}), [1]).compared == 1
    shutil.copy(run / "model.h5", run / "float.h5")
    with pytest.raises(BadInput, match="float.h5: not the file that .*next started from .*put that file there again"):
        replay(Source(tmp_path / "next", {}), [1])
    (run / "float.h5").unlink()
    with pytest.raises(BadInput, match="float.h5"):
        replay(Source(tmp_path / "next", {}), [1])


def test_a_run_saved_at_every_step_and_again_at_the_end_of_an_epoch_is_too(tmp_path):
    train(tmp_path / "run", checkpoint_minutes=1e-9)
    steps = [line.record["step"] for line in read(tmp_path / "run" / "ledger.jsonl") if line.kind == "checkpoint"]
    assert steps.count(35) == 2
    verify(tmp_path / "run")
    assert replay(Source(tmp_path / "run", {}), [34, 35]).compared == 2


def test_an_unfinished_run_is_checked_as_far_as_it_went(run):
    for name in ("model.h5", "model.tq.h5", "best.h5", "result.json"):
        (run / name).unlink()
    records = [line.record for line in read(run / "ledger.jsonl")]
    write_ledger(run, records[:next(i for i, record in enumerate(records) if record["record"] == "end")])
    found = verify(run)
    assert "model: missing, because the run is not finished" in found


def test_a_run_that_ended_early_is_said_to_have(tmp_path):
    train(tmp_path / "run", max_steps=20)
    assert "2 of the 5 configured epochs are on record" in verify(tmp_path / "run")


def flip_in(name, at):
    def flip(run):
        data = bytearray((run / name).read_bytes())
        data[int(at * len(data))] ^= 1
        (run / name).write_bytes(bytes(data))
    return flip


def swap_models(run):
    train(run.parent / "other", seed=1)
    shutil.copy(run.parent / "other" / "model.h5", run / "model.h5")


def swap_ledgers(run):
    train(run.parent / "other", seed=1)
    shutil.copy(run.parent / "other" / "ledger.jsonl", run / "ledger.jsonl")


def another_head(run):
    with h5py.File(run / "model.h5", "a") as file:
        file.attrs["ledger_head"] = np.bytes_(b"0" * 64)


def stray_checkpoint(run):
    shutil.copy(sorted((run / "checkpoints").iterdir())[-1], run / "checkpoints" / "step-000000003.h5")


def shortened(run):
    lines = (run / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    (run / "ledger.jsonl").write_bytes(b"".join(lines[:-1]))


CHANGES = {
    "config": (flip_in("config.toml", 0.3), "config.toml"), "model": (flip_in("model.h5", 0.6), "model.h5"),
    "packed": (flip_in("model.tq.h5", 0.6), "model.tq.h5"),
    "float": (flip_in("float.h5", 0.6), "float.h5"), "another model": (swap_models, "model.h5 differs from the file"),
    "another head": (another_head, "does not name this ledger's end"),
    "another ledger": (swap_ledgers, "config.toml differs"),
    "checkpoint": (flip_in("checkpoints/step-000000035.h5", 0.5), "step-000000035.h5"),
    "stray checkpoint": (stray_checkpoint, "step-000000003.h5 is the checkpoint of step 35"),
    "no model": (lambda run: (run / "model.h5").unlink(), "model.h5 is on record, but missing"),
    "a shortened ledger": (shortened, "the ledger has no result"), "ledger": (flip_in("ledger.jsonl", 0.5), "line "),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_was_changed_is_named(name, run):
    change, says = CHANGES[name]
    change(run)
    with pytest.raises(AuditMismatch, match=says):
        verify(run)


REWRITTEN = {
    "an older format": (lambda r: r[0].update(format="tinyq ledger/2"),
                        "in the format tinyq ledger/2, but this version of tinyq reads tinyq ledger/5; use"),
    "no format": (lambda r: r[0].pop("format"), "does not begin with the first record of a ledger"),
    "digests of no kind": (lambda r: r[0].update(audit="none"), "line 1: the digests are of no kind"),
    "no beginning": (lambda r: r.__delitem__(0), "does not begin with the first record of a ledger"),
    "an unknown record": (lambda r: r[5].update(record="stop"), "line 6: a record of kind 'stop' does not belong"),
    "a second beginning": (lambda r: r.insert(4, r[0]), "line 5: a record of kind 'begin' does not belong"),
    "a record without its field": (lambda r: of_step(r, 3).pop("ids"), "step without ids"),
    "files in another order": (lambda r: r.insert(-3, r.pop(-2)), "records model.h5, which no run writes there"),
    "one number": (lambda r: of_step(r, 3)["metrics"].update(objective="inf"), "rules|step 3: the objective is inf"),
    "many numbers": (lambda r: [of_step(r, t)["metrics"].update(objective="inf") for t in range(2, 9)],
                     "and [4-9] more|and 1. more"),
}


@pytest.mark.parametrize("name", REWRITTEN)
def test_a_chain_made_anew_that_says_the_impossible_is_found(name, run):
    change, says = REWRITTEN[name]
    rewrite(run, change)
    with pytest.raises(AuditMismatch, match=says):
        verify(run)


def test_a_size_on_record_is_a_whole_number(run):
    result = json.loads((run / "result.json").read_text())
    size = float(result["bytes_packed_file"])
    rewrite(run, lambda r: r[-1]["figures"].update(bytes_packed_file=size))
    head = read(run / "ledger.jsonl")[-1].head
    (run / "result.json").write_text(
        json.dumps({**result, "bytes_packed_file": size, "ledger_head": head}, indent=2) + "\n")
    with pytest.raises(AuditMismatch, match=r"model.tq.h5 has another size than on record"):
        verify(run)


def test_a_file_that_is_gone_is_named(run):
    (run / "config.toml").unlink()
    with pytest.raises(AuditMismatch, match="config.toml: cannot be read"):
        verify(run)


def test_a_checkpoint_of_another_place_in_the_ledger_is_found(run):
    """Of the right step and weights, but written under an older head."""
    path, lines = sorted((run / "checkpoints").glob("*.h5"))[-1], read(run / "ledger.jsonl")
    position, states = checkpoint.load(path)
    position.ledger_head = lines[2].head
    checkpoint.save(run / "checkpoints", position, states)
    with pytest.raises(AuditMismatch, match=f"{path.name} is not on record"):
        verify(run)


def test_without_its_last_checkpoint_the_end_is_left_to_replay(run):
    (run / "checkpoints/step-000000035.h5").unlink()
    (model,) = [line for line in verify(run) if line.startswith("model:")]
    assert "replay --final derives it (the last checkpoint is gone)" in model


def test_what_a_resumed_run_could_not_make_again_may_be_gone(run, monkeypatch):
    def refuse(*arguments):
        raise UsageError("no such form")

    (run / "model.h5").unlink()                             # or the run would be finished
    monkeypatch.setattr(finish, "pack_model", refuse)
    resume(run)
    assert not (run / "model.tq.h5").exists()
    verify(run)
    (run / "model.h5").unlink()
    with pytest.raises(AuditMismatch, match="model.h5 is on record, but missing"):
        verify(run)


def test_a_head_that_was_kept_elsewhere_must_be_of_this_ledger(run, capsys):
    lines = read(run / "ledger.jsonl")
    for line in lines[::7]:
        assert main(["audit", "verify", str(run), "--head", line.head]) == 0
        since = capsys.readouterr().out.splitlines()[1]
        assert since.startswith(f"head: {line.head[:12]} is on record; ")
        assert f"{counted(len(lines) - line.number, 'record')} came after it" in since or line is lines[-1]
    assert main(["audit", "verify", str(run), "--head", "0" * 64]) == 76
    assert "contains no line with SHA-256 000" in capsys.readouterr().err


def test_a_folder_that_a_run_is_working_in_is_busy_not_tampered_with(run, capsys):
    (run / "config.toml").write_text("")
    with locked(run):
        assert main(["audit", "verify", str(run)]) == 75
    assert "a run is working in this folder; verify it when it has stopped" in capsys.readouterr().err
    assert main(["audit", "verify", str(run)]) == 76


def test_the_command_says_what_it_found_and_ends_with_76(run, capsys):
    assert main(["audit", "verify", str(run)]) == 0
    assert "verified" in capsys.readouterr().out
    flip_in("model.h5", 0.5)(run)
    assert main(["audit", "verify", str(run)]) == 76
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and "model.h5" in captured.err


def test_a_run_without_a_ledger_is_bad_input(run, capsys):
    (run / "ledger.jsonl").unlink()
    assert main(["audit", "verify", str(run)]) == 65
    assert "--audit off" in capsys.readouterr().err


def test_show_filters_and_prints_what_is_in_the_file(run, capsys):
    assert main(["audit", "show", str(run), "--phase", "cbp", "--record", "step", "--from", "20", "--json"]) == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["step"] for record in shown] == list(range(20, 36))
    assert shown[0] in [line.record for line in read(run / "ledger.jsonl")]
    assert main(["audit", "show", str(run), "--step", "20"]) == 0
    table = capsys.readouterr().out
    assert "flips" in table and "0x" not in table and table.count("\n") == 3
    assert main(["audit", "show", str(run), "--step", "99"]) == 2 and capsys.readouterr().out == ""


def test_show_prints_what_is_no_number_as_it_is(run, capsys):
    rewrite(run, lambda r: (of_step(r, 3)["metrics"].update(objective="0xzz"),
                            of_step(r, 4)["metrics"].update(objective="0x1p+9999")))
    assert main(["audit", "show", str(run), "--record", "step"]) == 0
    assert "0xzz" in (out := capsys.readouterr().out) and "0x1p+9999" in out


def test_show_counts_the_moves_of_a_sweep(tmp_path, capsys):
    train(tmp_path / "run", "conntra")
    capsys.readouterr()
    assert main(["audit", "show", str(tmp_path / "run"), "--phase", "conntra", "--record", "step"]) == 0
    header, _, *rows = capsys.readouterr().out.splitlines()
    steps = [line.record["metrics"] for line in read(tmp_path / "run" / "ledger.jsonl")
             if line.kind == "step" and line.record["phase"] == "conntra"]
    column = header.index("moves")
    assert [int(row[column:].split()[0]) for row in rows] == [len(metrics["moves"]) for metrics in steps]


@pytest.mark.parametrize("line", ["", "verfy run", "show", "show run --record stp"])
def test_a_wrong_command_line_is_a_usage_error(line, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["audit", *line.split()]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_it_is_a_module_to_run(run, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["audit", "head", str(run)])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(audit_command.__file__, run_name="__main__")
    assert len(capsys.readouterr().out.strip()) == 64


def test_the_head_is_printed(run, capsys):
    assert main(["audit", "head", str(run)]) == 0
    assert capsys.readouterr().out.strip() == json.loads((run / "result.json").read_text())["ledger_head"]
