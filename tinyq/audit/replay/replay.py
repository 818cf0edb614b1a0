"""Repeat recorded steps on the real data and compare every digest; name the first difference."""
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tinyq.audit.capture.capture import Capture, Captured
from tinyq.audit.capture.step_trace import Trace
from tinyq.audit.ledger.hash_chain import FIXED, Line
from tinyq.audit.recording.recorder import Recorder
from tinyq.audit.replay.differences import describe
from tinyq.audit.replay.rerun import Enough, Source, rerun
from tinyq.audit.step.dump import first_difference, step_file
from tinyq.errors import AuditMismatch, UsageError
from tinyq.optim import Optimizer
from tinyq.streams import Streams

Examiner = Callable[[Captured, Streams], None]


@dataclass(frozen=True)
class Replayed:
    """The result of a replay without a difference."""

    wanted: list[int]                   # the steps asked for
    compared: int                       # number of steps whose every digest agreed, including those on the way
    records: int                        # number of records of phases and epochs that agreed


def replay(source: Source, steps: Iterable[int], examine: Examiner | None = None,
           from_the_first: bool = False) -> Replayed:
    """Repeat these steps from the nearest checkpoints and compare all records on the way.

    examine: called with each of these steps, captured, before it is compared. from_the_first: start at the first step
    instead, and skip none. Raises AuditMismatch for the first difference, naming the tensor and the primitive.
    """
    lines, starts = source.lines(), source.checkpoints()
    starts = {min(starts): starts[min(starts)]} if from_the_first and starts else starts
    steps = sorted(set(steps))
    check_recorded(lines, steps)
    compared = records = 0
    for start, wanted in _segments(starts, steps).items():
        comparison = _Comparison(lines[0].record["audit"], _fixed_after(lines, start), wanted, examine)
        rerun(source, starts[start], comparison)
        compared, records = compared + comparison.steps, records + comparison.others
    return Replayed(steps, compared, records)


def random_steps(lines: list[Line], count: int) -> list[int]:
    """Draw `count` different steps of the ledger from the system's randomness, so that nobody can predict them."""
    known = steps_of(lines)
    return sorted(secrets.SystemRandom().sample(known, min(count, len(known))))


def steps_of(lines: list[Line]) -> list[int]:
    """Return the numbers of the steps on record."""
    return [line.record["step"] for line in lines if line.kind == "step"]


def check_recorded(lines: list[Line], steps: list[int]) -> None:
    """Raise UsageError unless every step is on record."""
    known = steps_of(lines)
    unknown = sorted(set(steps) - set(known))
    if unknown or not steps:
        what = f"step {unknown[0]} is not on record" if unknown else "no step is named"
        raise UsageError(f"{what}; " + (f"the ledger has steps {known[0]} to {known[-1]}" if known else "it has none"))


def _segments(starts, steps):
    """Return {step of the nearest checkpoint before: the steps to reach from it}."""
    found: dict[int, list[int]] = {}
    for step in steps:
        before = [start for start in starts if start < step]
        if not before:
            raise UsageError(f"step {step}: there is no checkpoint before it, and the ledger does not begin at step 0")
        found.setdefault(before[-1], []).append(step)
    return found


def _fixed_after(lines, start):
    """Return the records of phases, steps and epochs after the checkpoint of this step."""
    if start == 0:
        return [line.record for line in lines if line.kind in FIXED]
    at = max(i for i, line in enumerate(lines) if line.kind == "file" and line.record["step"] == start
             and line.record["file"].startswith("checkpoints/"))
    return [line.record for line in lines[at:] if line.kind in FIXED]


class _Comparison(Recorder):
    """Compare each record that the repeated run makes with the one in the ledger."""

    def __init__(self, kind, expected, wanted, examiner):
        super().__init__(kind, self._compare)
        self.expected, self.wanted, self.last, self.examiner = expected, set(wanted), wanted[-1], examiner
        self.steps = self.others = 0

    def new_trace(self, step: int, optimizer: Optimizer) -> Trace:
        """Capture a step that is to be examined or whose arrays were kept; of others trace only the primitives."""
        self.kept = step_file(self.folder, step)
        whole = self._is_wanted(step) or self.kept.is_file()
        return (Capture if whole else Trace)(self.job.model, optimizer)

    def examine(self, captured: Captured) -> None:
        """Pass a wanted step to the examiner."""
        self.captured = captured
        if self._is_wanted(captured.step):
            self.examiner(captured, self.job.streams)

    def _is_wanted(self, step):
        return self.examiner is not None and step in self.wanted

    def _compare(self, record):
        expected, is_step = self.expected.pop(0), record["record"] == "step"
        if fields := [key for key in {**expected, **record} if key != "prev" and expected.get(key) != record.get(key)]:
            found = describe(expected, record, fields, list(self.parameters), list(self.buffers), self.trace)
            raise AuditMismatch(f"step {record['step']}: {found}{self._first_element() if is_step else ''}")
        self.steps += is_step
        self.others += not is_step
        if is_step and record["step"] >= self.last:
            raise Enough

    def _first_element(self):
        """Name the first element that differs, where the arrays of the step were kept."""
        element = first_difference(self.kept, self.captured) if self.kept.is_file() else ""
        return f"; {element}" if element else ""
