"""The events of --tensorboard are held against metrics.jsonl, of a finished and of a killed run."""
import re
import shutil

import pytest
from audit_runs import read, train, write_ledger

from tinyq.audit.verification.verify import verify
from tinyq.errors import AuditMismatch
from tinyq.run.observers.tensorboard import EVENTS_FILE


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("events") / "run"
    train(folder, "backprop", epochs=1, tensorboard=True)
    return folder


@pytest.fixture
def killed(run, tmp_path):
    """The run before its end was on record."""
    folder = shutil.copytree(run, tmp_path / "r")
    records = [line.record for line in read(folder / "ledger.jsonl")]
    write_ledger(folder, records[:next(i for i, record in enumerate(records) if record["record"] == "end")])
    for name in ("model.h5", "best.h5", "result.json"):
        (folder / name).unlink()
    return folder


def test_the_events_of_a_finished_run_are_those_of_its_metrics(run, tmp_path):
    assert f"events: {EVENTS_FILE} made again from metrics.jsonl, equal" in verify(run)
    folder = shutil.copytree(run, tmp_path / "r")
    held = (run / EVENTS_FILE).read_bytes()
    for data in (held[:-7] + bytes([held[-7] ^ 1]) + held[-6:], held[:-1], held + b"x", b""):
        (folder / EVENTS_FILE).write_bytes(data)
        with pytest.raises(AuditMismatch, match=f"{EVENTS_FILE} differs from the events of metrics.jsonl"):
            verify(folder)


def test_the_events_of_a_killed_run_may_be_short_but_not_others(killed):
    held = (killed / EVENTS_FILE).read_bytes()
    (killed / EVENTS_FILE).write_bytes(held[:-5])
    assert any(line.startswith("events: ") for line in verify(killed))
    (killed / EVENTS_FILE).write_bytes(held[:-5] + b"x")
    with pytest.raises(AuditMismatch, match="differs from the events"):
        verify(killed)


def test_a_time_that_is_no_number_is_a_fault(run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "r")
    text = (folder / "metrics.jsonl").read_text()
    (folder / "metrics.jsonl").write_text(re.sub('"seconds": [0-9.]+', '"seconds": "x"', text))
    with pytest.raises(AuditMismatch, match="events: cannot be checked"):
        verify(folder)
