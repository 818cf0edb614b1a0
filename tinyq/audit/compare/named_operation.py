"""Name the primitive or the vjp at which two steps part, by repeating the step of one of the runs."""
from collections.abc import Iterator

from tinyq.audit.capture.capture import Captured
from tinyq.audit.compare.side_by_side import TwoRuns
from tinyq.audit.ledger.digests import differing
from tinyq.audit.ledger.records import records_of
from tinyq.audit.methods.method_audit import Record
from tinyq.audit.replay.replay import replay
from tinyq.audit.replay.rerun import Source


def named_operation(a: Source, found: TwoRuns) -> str:
    """Repeat the step of A at which the runs part; return the name of the first operation whose result differs.

    "" where they do not part in an operation of a step. Raises AuditMismatch where the step does not agree with A's
    own ledger.
    """
    if found.step is None:
        return ""
    ours, theirs = (_step_record(run, found.step) for run in (found.a, found.b))
    named: list[str] = []
    replay(a, [found.step], lambda captured, _: named.extend(_named(captured, ours, theirs)))
    return named[0] if named else ""


def _named(captured: Captured, a: Record, b: Record) -> Iterator[str]:
    for field, calls in (("ops_of", captured.calls), ("vjps_of", captured.vjp_calls)):
        for at in differing(a.get(field, ""), b.get(field, ""), len(calls))[:1]:
            yield f"{calls[at]} (number {at} of {len(calls)})"


def _step_record(run, step):
    return next(line.record for line in records_of(run) if line.kind == "step" and line.record["step"] == step)
