"""Collect everything an audit finds: verify, a replay of all steps, checks in float64, and series of every tensor."""
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from tinyq.audit.ledger.environment import environment
from tinyq.audit.ledger.history import History
from tinyq.audit.replay.final import replay_final
from tinyq.audit.replay.replay import Replayed, replay
from tinyq.audit.replay.rerun import Source
from tinyq.audit.report.readable import ReadableSource, read_as_far_as_possible
from tinyq.audit.report.series import Point, evenly, point_of
from tinyq.audit.step.step_check import Checked, check
from tinyq.audit.verification.invariants import MALFORMED
from tinyq.audit.verification.verify import verify
from tinyq.errors import AuditMismatch, TinyqError
from tinyq.output.counting import counted
from tinyq.own_code import RunCode

POINTS, CHECKS = 32, 2
SHOWN_FAULTS = 5


@dataclass(frozen=True)
class Check:
    """One row of the table of checks; details: lines of text; error: the reason why it could not be done."""

    name: str
    passed: bool
    details: str
    error: TinyqError | None = None

    @property
    def outcome(self) -> str:
        """The result in a word or two."""
        return "passed" if self.passed else "not done" if self.error else "FAILED"


@dataclass(frozen=True)
class Report:
    """The contents of the page."""

    run: str
    history: History | None             # of the lines that can be read; None where the first one cannot
    checks: list[Check]
    points: list[Point]
    here: dict                          # the environment of this audit
    made: datetime
    seconds: float                      # duration of this audit
    is_whole: bool                      # True where every line of the ledger can be read


def make_report(source: Source, points: int = POINTS, checks: int = CHECKS) -> Report:
    """Verify the run, replay all of it, measure `points` steps and check `checks` of them in float64.

    Of a ledger with a broken chain, the steps before the break are replayed. BadInput where there is no ledger, or
    where the network is code that is not trusted.
    """
    began = time.monotonic()
    history, fault = read_as_far_as_possible(source.folder)
    series: list[Point] = []
    checked: list[Checked] = []
    if fault:
        found = [Check("ledger", False, fault)]
    else:
        assert history is not None
        _check_trust(source, history)
        found = [_run("verify", lambda: "\n".join(verify(source.folder, trust=source.trust)))]
    if history is not None:
        readable = ReadableSource(source.folder, source.changes, source.trust, history)
        steps = range(1, min(history.steps, history.counts["step"]) + (not fault))
        measured, examined = evenly(steps, points), set(evenly(steps, checks + 1)[1:] if checks else ())

        def examine(captured, streams):
            series.append(point_of(captured))
            if captured.step in examined:
                checked.append(check(captured, streams))

        if steps:
            wanted = sorted({*measured, *examined, steps[-1]})
            name = "replay of the steps before the break" if fault else "replay"
            found.append(_run(name, lambda: _replayed(replay(readable, wanted, examine, from_the_first=True), steps)))
        if history.result is not None and not fault:
            found.append(_run("final", lambda: "\n".join(replay_final(readable))))
        found += [Check(f"check of step {one.step}", not one.faults, _checked(one)) for one in checked]
        found += _found_while_training(history)
    return Report(str(source.folder), history, found, series, environment(), datetime.now(UTC),
                  time.monotonic() - began, not fault)


def _check_trust(source: Source, history: History) -> None:
    """Raise BadInput where the run has code that is neither trusted nor replaced, before any work is done."""
    if not source.trust:
        settings = history.begin.record["settings"]
        kept = {key: value for key, value in settings.items() if key not in source.changes}
        RunCode.trusted(source.folder, kept, False, None)


def _run(name: str, examine: Callable[[], str]) -> Check:
    try:
        return Check(name, True, examine())
    except AuditMismatch as error:
        return Check(name, False, str(error))
    except TinyqError as error:
        return Check(name, False, str(error), error)
    except MALFORMED as error:          # a foreign ledger may hold anything
        return Check(name, False, f"cannot be compared ({type(error).__name__}: {error})")


def _replayed(done: Replayed, steps: range) -> str:
    if done.compared != len(steps):
        raise AuditMismatch(f"{done.compared} of {len(steps)} steps were compared")
    return f"all of the {counted(len(steps), 'step')}; {done.summary} were replayed, and every digest agrees"


def _checked(one: Checked) -> str:
    if one.faults:
        return "\n".join(one.faults[:SHOWN_FAULTS])
    counts = ", ".join(f"{number} {what}" for what, number in one.counts.items())
    return f"no fault in {counts}; the largest rounding error reached {one.largest_error:.0%} of its bound"


def _found_while_training(history: History) -> list[Check]:
    return [*(Check(f"check of step {record['step']} while training", False,
                    "\n".join(map(str, record["faults"][:SHOWN_FAULTS]))) for record in history.failed_checks),
            *(Check(f"step {record['step']}", False, record["message"]) for record in history.exceptions)]
