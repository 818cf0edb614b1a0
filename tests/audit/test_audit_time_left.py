"""A long audit says how far it has come, and how long it will take."""
import pytest

from tinyq.audit import time_left
from tinyq.audit.time_left import TimeLeft


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""
    now = [0.0]
    monkeypatch.setattr(time_left.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize("seconds, left", [(20, "60 s"), (60, "3 min"), (3600, "3.0 h")])
def test_a_line_says_what_is_done_and_what_is_left(seconds, left, clock, capsys):
    work = TimeLeft(1000, "replay")
    clock[0] = seconds
    work.advance(250)
    assert capsys.readouterr().err == f"replay: 250 of 1,000 steps, about {left} left\n"


def test_ten_seconds_pass_between_two_lines(clock, capsys):
    work = TimeLeft(40, "check of step 7", "operations")
    for second in range(40):
        clock[0] = second + 1.0
        work.advance()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4 and lines[0] == "check of step 7: 10 of 40 operations, about 30 s left"
