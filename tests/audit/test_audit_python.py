"""The audit as Python functions."""
import pytest
from audit_runs import of_step, rewrite, train

from tinyq.audit import replay_run, verify_run
from tinyq.errors import AuditMismatch, UsageError


def test_a_run_is_verified_and_replayed_from_python(tmp_path):
    train(tmp_path / "run")
    assert "chain: " in verify_run(tmp_path / "run")[0]
    assert replay_run(str(tmp_path / "run"), random=2) >= 2


def test_no_step_is_no_replay(tmp_path):
    train(tmp_path / "run", max_steps=3)
    with pytest.raises(UsageError):
        replay_run(tmp_path / "run", random=0)


def test_a_changed_record_is_found_from_python(tmp_path):
    train(tmp_path / "run", max_steps=3)

    rewrite(tmp_path / "run", lambda records: of_step(records, 1).update(loss=0.125))
    with pytest.raises(AuditMismatch):
        replay_run(tmp_path / "run", random=3)
