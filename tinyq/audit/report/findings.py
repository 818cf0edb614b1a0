"""Collect everything an audit finds: verify, a replay of all steps, checks in float64, and series of every tensor."""
from dataclasses import dataclass

from tinyq.audit.ledger.history import History
from tinyq.audit.replay.final import replay_final
from tinyq.audit.replay.replay import Replayed, replay
from tinyq.audit.replay.rerun import Source
from tinyq.audit.report.series import Point, evenly, point_of
from tinyq.audit.step.step_check import Checked, check
from tinyq.audit.verification.verify import verify
from tinyq.errors import AuditMismatch

POINTS, CHECKS = 32, 2


@dataclass(frozen=True)
class Check:
    """One row of the table of checks; details: lines of text."""

    name: str
    passed: bool
    details: str


@dataclass(frozen=True)
class Report:
    """The contents of the page."""

    run: str
    history: History
    checks: list[Check]
    points: list[Point]
    levels: list[float]                 # normalised, of the last phase; [] where nothing is constrained


def make_report(source: Source, points: int = POINTS, checks: int = CHECKS) -> Report:
    """Verify the run, replay all of it, measure `points` steps and check `checks` of them in float64."""
    history = source.history
    steps = list(range(1, history.steps + 1))
    measured, examined = evenly(steps, points), set(evenly(steps, checks + 1)[1:] if checks else ())
    series: list[Point] = []
    checked: list[Checked] = []
    levels: list[float] = []

    def examine(captured, streams):
        series.append(point_of(captured))
        parametrizations = [p.parametrization for p in captured.model.parameters() if p.parametrization is not None]
        levels[:] = parametrizations[0].level_set.values.tolist() if parametrizations else []
        if captured.step in examined:
            checked.append(check(captured, streams))

    found = [_run("verify", lambda: "\n".join(verify(source.folder, trust=source.trust)))]
    if steps:
        wanted = sorted({*measured, *examined, steps[-1]})
        found.append(_run("replay", lambda: _replayed(replay(source, wanted, examine, from_the_first=True), steps[-1])))
    if history.result is not None:
        found.append(_run("final", lambda: "\n".join(replay_final(source))))
    found += [Check(f"check of step {one.step}", not one.faults, _checked(one)) for one in checked]
    found += [Check(f"check of step {record['step']} while training", False, "\n".join(map(str, record["faults"][:5])))
              for record in history.failed_checks]
    found += [Check(f"step {record['step']}", False, record["message"]) for record in history.exceptions]
    return Report(str(source.folder), history, found, series, levels)


def _run(name, examine):
    try:
        return Check(name, True, examine())
    except AuditMismatch as error:
        return Check(name, False, str(error))


def _replayed(done: Replayed, steps: int):
    if done.compared != steps:
        raise AuditMismatch(f"{done.compared} of {steps} steps were compared")
    return (f"{done.compared} of {steps} steps, {done.records} records of phases and epochs, {done.checkpoints} "
            f"checkpoints and {done.checks} checks were replayed; every digest agrees")


def _checked(one: Checked):
    if one.faults:
        return "\n".join(one.faults[:5])
    counts = ", ".join(f"{number} {what}" for what, number in one.counts.items())
    return f"no fault in {counts}; the largest rounding error reached {one.largest_error:.0%} of its bound"
