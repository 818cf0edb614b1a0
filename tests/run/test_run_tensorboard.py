"""The event file says what metrics.jsonl says, whatever happens to the run, and verify holds it against that."""
import math

import numpy as np
import pytest
from event_files import events

from tinyq.__main__ import main
from tinyq.audit import observers_for
from tinyq.errors import InputOutputError
from tinyq.files.journal import read_records
from tinyq.run import session
from tinyq.run.observers import tensorboard
from tinyq.run.observers.tensorboard import EVENTS_FILE, Events
from tinyq.run.settings.resolve import resolve

IRIS = {"model": "mlp:8,16", "data": "iris", "method": "cbp", "recipe": "none", "batch_size": 16, "lr": 0.05,
        "pretrain_epochs": 1, "epochs": 2, "threads": 1, "workers": 0, "tensorboard": True, "print_freq": 5}


def train(folder, **changes):
    return session.start(resolve({**IRIS, **changes, "output": str(folder)}), observers_for)[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tensorboard") / "run"
    train(folder)
    return folder


def scalars(folder):
    return events((folder / EVENTS_FILE).read_bytes())[0]


def check_same(folder):
    """Every number of metrics.jsonl is there, in its place, and nothing else."""
    records, found = read_records(folder / "metrics.jsonl"), scalars(folder)
    assert len(records) == len(found) > 3
    for record, (time, step, values) in zip(records, found, strict=True):
        numbers = {f"{record['record']}/{key}": value for key, value in record.items()
                   if key not in ("record", "phase", "epoch", "step", "seconds") and value is not None}
        assert (time, step) == (record.get("seconds", 0.0), record["step"])
        assert values == {key: float(np.float32(value)) for key, value in numbers.items()}


def test_the_events_are_the_records(run):
    check_same(run)
    assert events((run / EVENTS_FILE).read_bytes())[1] == b"brain.Event:2"
    tags = {tag for _, _, values in scalars(run) for tag in values}
    assert {"step/objective", "epoch/validation_error", "epoch/g", "float/test_accuracy"} <= tags


def test_verify_knows_the_file(run, capsys):
    assert main(["audit", "verify", str(run)]) == 0
    out = capsys.readouterr().out
    assert f"events: {EVENTS_FILE} made again from metrics.jsonl, equal" in out and "not on record" not in out


@pytest.mark.parametrize("damage", [lambda data: data, lambda data: data + b"of a step that was lost",
                                    lambda data: data[:-9], lambda data: b"\0" * len(data), None])
def test_a_resumed_run_goes_on_with_the_file_or_makes_it_again(damage, tmp_path):
    folder = tmp_path / "r"
    train(folder, max_steps=10)
    path = folder / EVENTS_FILE
    if damage:
        path.write_bytes(damage(path.read_bytes()))
    else:
        path.unlink()
    session.resume(folder, {"max_steps": 100}, observers_for)
    check_same(folder)
    assert main(["audit", "verify", str(folder)]) == 0


def test_a_resume_may_begin_or_end_the_events(tmp_path):
    folder = tmp_path / "r"
    train(folder, max_steps=8, tensorboard=False)
    assert not (folder / EVENTS_FILE).exists()
    session.resume(folder, {"max_steps": 12, "tensorboard": True}, observers_for)
    check_same(folder)
    session.resume(folder, {"max_steps": 20, "tensorboard": False}, observers_for)
    assert not (folder / EVENTS_FILE).exists()
    assert main(["audit", "verify", str(folder)]) == 0


def test_the_bits_do_not_depend_on_the_events(run, tmp_path):
    train(tmp_path / "r", tensorboard=False)
    assert (tmp_path / "r" / "model.tq.h5").stat().st_size == (run / "model.tq.h5").stat().st_size
    assert [r["w"] for r in read_records(tmp_path / "r" / "ledger.jsonl") if "w" in r] == [
        r["w"] for r in read_records(run / "ledger.jsonl") if "w" in r]


def test_a_disk_that_refuses_the_events_does_not_stop_the_run(tmp_path, monkeypatch, capsys):
    def full(*arguments):
        raise InputOutputError("disk full")

    monkeypatch.setattr(Events, "append", full)
    assert train(tmp_path / "r")["steps"] == 21
    assert "disk full; training continues" in capsys.readouterr().out


def test_values_that_an_event_cannot_hold_are_left_out():
    record = {"record": "epoch", "step": 1 << 40, "a": math.nan, "b": 1e39, "c": "x", "d": None, "e": True,
              "f": 10**400}
    with pytest.raises(OverflowError):
        tensorboard.event_of(record)
    (_, step, values), = events(tensorboard.encode([{**record, "f": tensorboard.LARGEST}]))[0]
    assert step == 1 << 40 and values == {"epoch/e": 1.0, "epoch/f": tensorboard.LARGEST}
