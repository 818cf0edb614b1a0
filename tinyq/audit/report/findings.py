"""Everything the audit of a run found: what verify and a replay of all its steps say, and series of every tensor."""
from dataclasses import dataclass

from tinyq.audit.replay.replay import replay, steps_of
from tinyq.audit.report.series import Point, evenly, point_of
from tinyq.audit.step.step_check import check
from tinyq.audit.verification.verify import verify
from tinyq.errors import AuditMismatch

POINTS, CHECKS = 32, 2


@dataclass(frozen=True)
class Verdict:
    """One row of the table of verdicts; found: lines."""

    what: str
    holds: bool
    found: str


@dataclass(frozen=True)
class Report:
    """What a page shows."""

    run: str
    lines: list                         # of the ledger
    verdicts: list[Verdict]
    points: list[Point]
    levels: list[float]                 # normalised, of the last phase; [] where nothing is constrained


def report_of(source, points: int = POINTS, checks: int = CHECKS) -> Report:
    """Verify the run, replay all of it, take figures at so many steps and check some of them in float64."""
    verdicts, found, checked, levels = [], [], [], []
    lines = source.lines()
    steps = steps_of(lines)
    wanted, examined = evenly(steps, points), set(evenly(steps, checks + 1)[1:] if checks else ())

    def examine(captured, streams):
        found.append(point_of(captured))
        views = [p.parametrization for p in captured.model.parameters() if p.parametrization is not None]
        levels[:] = views[0].level_set.values.tolist() if views else []
        if captured.step in examined:
            checked.append(check(captured, streams))

    verdicts.append(_verdict("verify", lambda: "\n".join(verify(source.folder))))
    if steps:
        verdicts.append(_verdict("replay", lambda: _replayed(replay(source, sorted({*wanted, *examined}), examine,
                                                                    from_the_first=True))))
    verdicts += [Verdict(f"check of step {one.step}", not one.faults, _checked(one)) for one in checked]
    for line in lines:
        if line.kind == "check":
            faults = line.record["faults"]
            verdicts.append(Verdict(f"check of step {line.record['step']} while training", not faults,
                                    "\n".join(faults) or "no fault"))
        if line.kind == "exception":
            verdicts.append(Verdict(f"step {line.record['step']}", False, line.record["what"]))
    return Report(str(source.folder), lines, verdicts, found, levels)


def _verdict(what, examine):
    try:
        return Verdict(what, True, examine())
    except AuditMismatch as error:
        return Verdict(what, False, str(error))


def _replayed(done):
    return (f"{done.compared} steps and {done.records} records of phases and epochs, done again, agree in every "
            "digest")


def _checked(one):
    if one.faults:
        return "\n".join(one.faults[:5])
    counts = ", ".join(f"{number} {what}" for what, number in one.counts.items())
    return f"no fault in {counts}; the largest rounding error took {one.closest:.0%} of its bound"
