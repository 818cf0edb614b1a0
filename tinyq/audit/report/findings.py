"""Collect everything an audit finds: verify, a replay of all steps, checks in float64, and series of every tensor."""
from dataclasses import dataclass

from tinyq.audit.ledger.hash_chain import Line
from tinyq.audit.replay.replay import Replayed, replay, steps_of
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
    lines: list[Line]                   # of the ledger
    checks: list[Check]
    points: list[Point]
    levels: list[float]                 # normalised, of the last phase; [] where nothing is constrained


def make_report(source: Source, points: int = POINTS, checks: int = CHECKS) -> Report:
    """Verify the run, replay all of it, measure `points` steps and check `checks` of them in float64."""
    lines = source.lines()
    steps = steps_of(lines)
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

    found = [_run("verify", lambda: "\n".join(verify(source.folder)))]
    if steps:
        wanted = sorted({*measured, *examined})
        found.append(_run("replay", lambda: _replayed(replay(source, wanted, examine, from_the_first=True))))
    found += [Check(f"check of step {one.step}", not one.faults, _checked(one)) for one in checked]
    found += [row for line in lines if (row := _recorded(line)) is not None]
    return Report(str(source.folder), lines, found, series, levels)


def _recorded(line):
    """Return the Check that a record holds: one made while training, or the failure of a step; None for others."""
    if line.kind == "check":
        faults = line.record["faults"]
        return Check(f"check of step {line.record['step']} while training", not faults,
                     "\n".join(map(str, faults)) or "no fault")
    if line.kind == "exception":
        return Check(f"step {line.record['step']}", False, line.record["message"])
    return None


def _run(name, examine):
    try:
        return Check(name, True, examine())
    except AuditMismatch as error:
        return Check(name, False, str(error))


def _replayed(done: Replayed):
    return f"{done.compared} steps and {done.records} records of phases and epochs were replayed; every digest agrees"


def _checked(one: Checked):
    if one.faults:
        return "\n".join(one.faults[:5])
    counts = ", ".join(f"{number} {what}" for what, number in one.counts.items())
    return f"no fault in {counts}; the largest rounding error reached {one.largest_error:.0%} of its bound"
