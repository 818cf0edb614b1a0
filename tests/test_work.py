"""Long work says how far it has come and how long it will take, where nothing else is shown."""
import io
import sys
import threading

import pytest

from tinyq.output import terminal, work
from tinyq.output.terminal import fitted, lines_above, say, tell
from tinyq.output.work import Work


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets, and no thread that watches."""
    now = [0.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(terminal, "_shown_at", 0.0)
    monkeypatch.setattr(work, "_watch", lambda all_done: None)
    return now


@pytest.mark.parametrize("seconds, left", [(20, "60 s"), (60, "3 min"), (3600, "3.0 h")])
def test_a_line_says_what_is_done_and_what_is_left(seconds, left, clock, capsys):
    with Work("replay", 1000) as replay:
        clock[0] = seconds
        replay.advance(250)
    assert capsys.readouterr().err == f"replay: 250 of 1,000 steps, about {left} left\n"


def test_work_of_unknown_length_says_how_long_it_has_taken(clock):
    with Work("packing") as packing:
        clock[0] = 35
        assert packing.line() == "packing: 35 s so far"
        packing.done = 3
        assert packing.line() == "packing: 3 steps, 35 s so far"
        packing.total = 9
        packing.done = 0
        assert packing.line() == "packing: 0 of 9 steps, 35 s so far"


def test_work_that_is_entered_again_counts_its_own_time_alone(clock):
    compiling = Work("compiling", pieces="functions")
    for begin, end in ((0, 30), (500, 520)):
        clock[0] = begin
        with compiling:
            clock[0] = begin + 1
            with compiling:                             # by another thread
                clock[0] = end
    compiling.advance(3)
    assert compiling.line() == "compiling: 3 functions, 50 s so far"


def test_ten_seconds_pass_between_two_lines(clock, capsys):
    with Work("check of step 7", 40, "operations") as check:
        for second in range(40):
            clock[0] = second + 1.0
            check.advance()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4 and lines[0] == "check of step 7: 10 of 40 operations, about 30 s left"


def test_nothing_is_added_to_lines_of_another_kind(clock, capsys):
    with Work("training", 40) as training:
        for second in range(40):
            clock[0] = second + 1.0
            say(f"step {second}")
            training.advance()
    assert capsys.readouterr().err == ""


def test_of_work_within_work_the_inner_one_is_told(clock, capsys):
    with Work("training", 40) as training, Work("measuring", 2, "samples") as measuring:
        clock[0] = 11.0
        training.advance()
        measuring.advance()
    assert capsys.readouterr().err == "measuring: 1 of 2 samples, about 11 s left\n"


def test_work_that_does_not_advance_is_heard_of(monkeypatch):
    """Such as a kernel that is compiled: a thread prints the line."""
    heard = threading.Event()
    monkeypatch.setattr(work, "tell", lambda line: line.startswith("compiling: ") and heard.set())
    monkeypatch.setattr(work, "SECONDS", 0.2)
    tell("before")
    with Work("compiling"):
        assert heard.wait(30)


def test_lines_pass_above_a_bar(capsys):
    seen = []
    with lines_above(lambda text, stream: seen.append((text, stream is sys.stderr))):
        tell("a note")
        say("a figure")
    say("below")
    assert seen == [("a note", True), ("a figure", False)] and capsys.readouterr().out == "below\n"


def test_no_figure_is_cut_at_the_edge_of_a_terminal():
    figures = ["cbp      epoch   2/2", "loss 1.1518", "error 74.29%", "validation 40.00%", "lr 0.01", "g 1"]
    assert fitted(figures, None) == ["  ".join(figures)] and fitted([], 40) == []
    for width in (20, 40, 80, 200):
        lines = fitted(figures, width)
        assert all(len(line) <= width for line in lines)
        assert [figure for line in lines for figure in line.strip().split("  ") if figure] == [
            part for figure in figures for part in figure.split("  ") if part]


def test_what_is_no_terminal_has_no_width():
    assert terminal.width_of(io.StringIO()) is None
    closed = io.StringIO()
    closed.close()
    assert terminal.width_of(closed) is None
