"""A disk that does not take the ledger: records wait in memory, the chain stays whole, nothing is taken for saved."""
import errno
import os

import pytest
from audit_runs import read, resume, rewrite, train

from tinyq.__main__ import main
from tinyq.audit.ledger.hash_chain import FIXED
from tinyq.audit.recording import ledger_writer
from tinyq.audit.replay.replay import replay
from tinyq.audit.replay.rerun import Source
from tinyq.audit.step import check_result
from tinyq.audit.step.step_check import Checked
from tinyq.audit.verification.verify import verify
from tinyq.errors import AuditMismatch, CannotCreate, InputOutputError
from tinyq.files import atomic
from tinyq.run import checkpoint

QUICK = {"pretrain_epochs": 1, "epochs": 1}


class Refusing:
    """os.write, whose n-th call for a ledger fails, or all from there on, or half of that one is written first."""

    def __init__(self, patch, at, for_ever=False, short=False, number=errno.ENOSPC):
        self.at, self.for_ever, self.short, self.number, self.count, self.refused = at, for_ever, short, number, 0, 0
        self.write = os.write
        patch.setattr(os, "write", self)

    def __call__(self, descriptor, data):
        if not os.readlink(f"/proc/self/fd/{descriptor}").endswith("/ledger.jsonl"):
            return self.write(descriptor, data)
        self.count += 1
        if self.short and self.count == self.at:
            return self.write(descriptor, bytes(data[:len(data) // 2]))
        if self.count == self.at + self.short or self.for_ever and self.count > self.at:
            self.refused += 1
            raise OSError(self.number, os.strerror(self.number))
        return self.write(descriptor, data)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    sha256 = train(folder, **QUICK)["weights_sha256"]
    return sha256, len(read(folder / "ledger.jsonl"))


def fixed(run):
    return [{**line.record, "prev": ""} for line in read(run / "ledger.jsonl") if line.kind in FIXED]


def proven(run):
    """Whether verify and a replay of every step agree with the folder."""
    verify(run)
    steps = [line.record["step"] for line in read(run / "ledger.jsonl") if line.kind == "step"]
    assert replay(Source(run, {}), steps).compared == len(steps) == 14


def fails_at(at, whole, run, monkeypatch, **how):
    """One case; whether training finished in spite of it."""
    try:
        with monkeypatch.context() as patch:
            disk = Refusing(patch, at, **how)
            finished = train(run, **QUICK)["weights_sha256"] == whole[0]
            assert finished
    except InputOutputError as error:
        assert "go on with: python -m tinyq.train --resume" in str(error)
        finished = False
        assert resume(run)["weights_sha256"] == whole[0]
    assert disk.refused
    proven(run)
    return finished


@pytest.mark.parametrize("at", [1, 2, 8, 9, 10, 11, 12, 19, 22, 23, 24])
@pytest.mark.parametrize("short", [False, True])
def test_a_write_that_fails_once_stops_nothing(at, short, whole, tmp_path, monkeypatch, capsys):
    assert fails_at(at, whole, tmp_path / "run", monkeypatch, short=short)
    assert "free some space; training continues, and its records wait in memory" in capsys.readouterr().out


@pytest.mark.parametrize("at", [1, 5, 11, 13, 22])
def test_a_disk_that_stays_full_costs_only_what_a_resume_makes_again(at, whole, tmp_path, monkeypatch, capsys):
    assert not fails_at(at, whole, tmp_path / "run", monkeypatch, for_ever=True)
    assert capsys.readouterr().out.count("records wait in memory") == 1


@pytest.mark.slow
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("for_ever", [False, True])
def test_every_append_may_fail(number, for_ever, whole, tmp_path, monkeypatch):
    for at in range(1, whole[1] + 1):
        finished = fails_at(at, whole, tmp_path / str(at), monkeypatch, number=number, for_ever=for_ever)
        assert finished != for_ever


def test_no_checkpoint_is_written_that_its_ledger_does_not_reach(whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        Refusing(patch, 5, for_ever=True)
        with pytest.raises(InputOutputError):
            train(tmp_path / "run", **QUICK)
    assert not list((tmp_path / "run" / "checkpoints").iterdir())
    assert [line.kind for line in read(tmp_path / "run" / "ledger.jsonl")] == ["begin", "phase", "step", "step"]


def test_too_many_waiting_records_end_the_run_at_its_last_checkpoint(whole, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(ledger_writer, "MAX_WAITING", 3000)
        Refusing(patch, 14, for_ever=True)                              # after the checkpoint of the first epoch
        with pytest.raises(InputOutputError, match="of records cannot be written; .*; then go on with"):
            train(run, **QUICK)
    assert checkpoint.load_newest(run / "checkpoints")[0].steps == 7
    assert resume(run)["weights_sha256"] == whole[0]
    proven(run)


def test_the_exit_code_of_that_is_74(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ledger_writer, "MAX_WAITING", 100)
    Refusing(monkeypatch, 3, for_ever=True)
    line = "train --model mlp:8 --data iris --epochs 1 --recipe none --method backprop --output"
    assert main([*line.split(), str(tmp_path / "run")]) == 74
    assert capsys.readouterr().err.count("\n") == 1


def test_a_file_that_cannot_be_read_back_is_no_checkpoint(whole, tmp_path, monkeypatch, capsys):
    sha256, run = ledger_writer.sha256_of, tmp_path / "run"

    def unreadable(path):
        if path.name == "step-000000007.h5":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return sha256(path)

    monkeypatch.setattr(ledger_writer, "sha256_of", unreadable)
    assert train(run, **QUICK)["weights_sha256"] == whole[0]
    assert "cannot be read (Input/output error), so it was removed; check this disk; training continues" in \
        capsys.readouterr().out
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-000000014.h5"]
    proven(run)


@pytest.mark.parametrize("at", [7, 14])
def test_a_checkpoint_whose_folder_cannot_be_synced_is_on_record(at, whole, tmp_path, monkeypatch, capsys):
    run, replace, sync = tmp_path / "run", os.replace, atomic._sync_folder
    last = []

    def fails_once(folder):
        if last and last.pop().endswith(f"step-{at:09d}.h5"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(folder)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda old, new: (last.append(str(new)), replace(old, new)))
        patch.setattr(atomic, "_sync_folder", fails_once)
        assert train(run, **QUICK)["weights_sha256"] == whole[0]
    assert "its folder cannot be synced" in capsys.readouterr().out
    proven(run)
    assert resume(run)["weights_sha256"] == whole[0]
    proven(run)


def test_a_file_recorded_late_belongs_to_the_same_step_all_the_same(whole, tmp_path):
    run = tmp_path / "run"
    train(run, **QUICK)
    rewrite(run, lambda records: records.append(records.pop(max(
        i for i, r in enumerate(records) if r["record"] == "file" and r["file"].startswith("checkpoints/")))))
    with pytest.raises(AuditMismatch) as refused:               # the chain is another one, and that is all
        verify(run)
    assert "not written at the step on record" not in str(refused.value)


def test_what_a_power_cut_tore_behind_the_checkpoint_is_made_again(whole, tmp_path, capsys):
    run = tmp_path / "run"
    train(run, **QUICK, max_steps=7)
    path, expected = run / "ledger.jsonl", fixed(run)
    torn = path.read_bytes()
    path.write_bytes(torn + b"\0" * 700 + b"\n" + b'{"prev":"')
    assert resume(run, max_steps=1000)["weights_sha256"] == whole[0]
    assert "is not a record of a ledger; the records after the checkpoint are made again" in capsys.readouterr().out
    assert fixed(run)[:len(expected)] == expected
    proven(run)


def test_what_was_torn_before_the_checkpoint_is_refused(tmp_path):
    run = tmp_path / "run"
    train(run, **QUICK, max_steps=7)
    lines = (run / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    (run / "ledger.jsonl").write_bytes(b"".join([*lines[:3], b"\0" * 700 + b"\n", *lines[4:]]))
    with pytest.raises(AuditMismatch, match="line 4 is not a record of a ledger"):
        resume(run, max_steps=1000)


def test_arrays_that_find_no_room_stop_no_training(tmp_path, monkeypatch, capsys):
    def full(*arguments, **options):
        raise InputOutputError("steps/step-000000001.h5: writing failed (No space left on device)")

    monkeypatch.setattr(ledger_writer.dump, "write", full)
    train(tmp_path / "run", "backprop", "full", epochs=1)
    assert capsys.readouterr().out.count("training continues without these arrays") == 1
    verify(tmp_path / "run")


def test_arrays_that_cannot_be_saved_do_not_hide_the_fault(tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise CannotCreate("audit: cannot create this folder")

    monkeypatch.setattr(check_result.dump, "write", full)
    monkeypatch.setattr(ledger_writer, "check", lambda captured, streams: Checked(captured.step, faults=["wrong"]))
    with pytest.raises(AuditMismatch, match="step 3: wrong; the arrays of the step could not be saved: audit: cannot"):
        train(tmp_path / "run", "backprop", audit_every=3)
