"""Steps done again with the real data, every digest held against its record; the first difference is named."""
import secrets
from dataclasses import dataclass

from tinyq.audit.ledger.digests import differing
from tinyq.audit.ledger.hash_chain import FIXED
from tinyq.audit.ledger.step_trace import Trace
from tinyq.audit.recording.recorder import Recorder
from tinyq.audit.replay.rerun import Enough, Source, rerun
from tinyq.audit.step.capture import Capture
from tinyq.audit.step.dump import first_difference, step_file
from tinyq.errors import AuditMismatch, UsageError


@dataclass(frozen=True)
class Replayed:
    """What was done again."""

    wanted: list[int]                   # steps that were asked for
    compared: int                       # steps whose every digest agreed, those on the way included
    records: int                        # and records of phases and epochs


def replay(source: Source, steps, examine=None, from_the_first=False) -> Replayed:
    """Repeat these steps from the nearest checkpoints and compare all records on the way.

    examine(Captured, streams) is called with everything of each of these steps, before it is compared. AuditMismatch
    for the first step that differs, with the tensor and the primitive. from_the_first: pass over no step, as starting
    from checkpoints does.
    """
    lines, starts = source.lines(), source.checkpoints()
    starts = {min(starts): starts[min(starts)]} if from_the_first and starts else starts
    steps = sorted(set(steps))
    refuse_unknown(lines, steps)
    steps_done = records = 0
    for start, wanted in _segments(starts, steps).items():
        kind = lines[0].record["digests"]
        comparison = _Comparison(kind, _fixed_after(lines, start), wanted, examine)
        rerun(source, starts[start], comparison)
        steps_done, records = steps_done + comparison.steps, records + comparison.others
    return Replayed(steps, steps_done, records)


def random_steps(lines, count: int) -> list[int]:
    """So many different steps of the ledger, drawn anew each time, so that nobody knows beforehand which."""
    known = steps_of(lines)
    return sorted(secrets.SystemRandom().sample(known, min(count, len(known))))


def steps_of(lines) -> list[int]:
    """The numbers of the steps on record."""
    return [line.record["step"] for line in lines if line.kind == "step"]


def refuse_unknown(lines, steps) -> None:
    """UsageError unless every step is on record."""
    known = steps_of(lines)
    unknown = sorted(set(steps) - set(known))
    if unknown or not steps:
        what = f"step {unknown[0]} is not on record" if unknown else "no step is named"
        raise UsageError(f"{what}; " + (f"the ledger has steps {known[0]} to {known[-1]}" if known else "it has none"))


def _segments(starts, steps):
    """{step of the nearest checkpoint before: the steps to be reached from it}."""
    found = {}
    for step in steps:
        before = [start for start in starts if start < step]
        if not before:
            raise UsageError(f"step {step}: there is no checkpoint before it, and the ledger does not begin at 0")
        found.setdefault(before[-1], []).append(step)
    return found


def _fixed_after(lines, start):
    """Records of phases, steps and epochs that come behind a checkpoint at this step."""
    if start == 0:
        return [line.record for line in lines if line.kind in FIXED]
    at = max(i for i, line in enumerate(lines) if line.kind == "file" and line.record["step"] == start
             and line.record["file"].startswith("checkpoints/"))
    return [line.record for line in lines[at:] if line.kind in FIXED]


class _Comparison(Recorder):
    """Holds each record that the repeated run makes against the one in the ledger."""

    def __init__(self, kind, expected, wanted, examiner):
        super().__init__(kind, self._compare)
        self.expected, self.wanted, self.last, self.examiner = expected, set(wanted), wanted[-1], examiner
        self.steps = self.others = 0

    def new_trace(self, step, optimizer):
        """Capture a step that is to be examined or whose arrays were kept; of others trace only the primitives."""
        self.kept = step_file(self.folder, step)
        whole = self._is_wanted(step) or self.kept.is_file()
        return (Capture if whole else Trace)(self.job.model, optimizer)

    def examine(self, captured):
        """Pass a wanted step to the examiner."""
        self.captured = captured
        if self._is_wanted(captured.step):
            self.examiner(captured, self.job.streams)

    def _is_wanted(self, step):
        return self.examiner is not None and step in self.wanted

    def _compare(self, record):
        expected = self.expected.pop(0)
        fields = [key for key in {**expected, **record} if key != "prev" and expected.get(key) != record.get(key)]
        if fields:
            named = self._named(expected, record, fields)
            if record["record"] == "step" and self.kept.is_file():
                element = first_difference(self.kept, self.captured)
                named += f"; {element}" if element else ""
            raise AuditMismatch(f"step {record['step']}: {named}")
        self.steps += record["record"] == "step"
        self.others += record["record"] != "step"
        if record["record"] == "step" and record["step"] >= self.last:
            raise Enough

    def _named(self, expected, record, fields):
        """What differs first, in the order in which a step computes."""
        if expected["record"] != record["record"]:
            return f"the ledger has the record of a {expected['record']}, done again it is one of a {record['record']}"
        names = [*self.parameters, *self.buffers]
        if record["record"] == "step":
            if "ids" in fields:
                return "other samples were trained on than the ledger says"
            if "x" in fields:
                return "the input differs from what the ledger says: the data, or how images are decoded"
            for field, calls in (("ops", self.trace.calls), ("vjps", self.trace.vjps)):
                if field in fields:
                    at = differing(record[f"{field}_of"], expected[f"{field}_of"], len(calls))
                    return (f"{calls[at[0]]} (number {at[0]}) is not what the ledger says; all before it is" if at
                            else f"the digest of all {field} differs, that of none of them")
            if "g" in fields:
                return f"the gradient of {_tensors(expected, record, 'g_of', list(self.parameters))} differs, " \
                       "while every vjp before agrees: the vjp that made it, or what the method adds to it"
            if "w" in fields:
                return f"the update of {_tensors(expected, record, 'w_of', names)} differs, while its gradient agrees"
        elif "w" in fields:
            return f"{_tensors(expected, record, 'w_of', names)} differs at this {record['record']}"
        inner = [key for key in fields if key != "figures"] + [
            f"{key} ({expected['figures'].get(key)} on record, {record['figures'].get(key)} done again)"
            for key in {**expected["figures"], **record["figures"]}
            if expected["figures"].get(key) != record["figures"].get(key)]
        return f"{record['record']}: {', '.join(inner)}"


def _tensors(expected, record, field, names):
    found = [names[i] for i in differing(record[field], expected[field], len(names))]
    return ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "") or "some tensor"
