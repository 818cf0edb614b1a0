"""Compare each record that a repeated run makes with the one in the ledger; raise at the first difference."""
from collections.abc import Callable, Iterable, Iterator

from tinyq.audit.capture.capture import Capture, Captured
from tinyq.audit.capture.step_trace import Trace
from tinyq.audit.ledger.hash_chain import FIXED, differing_keys
from tinyq.audit.recording.checkpoint_record import checkpoint_record
from tinyq.audit.recording.recorder import Recorder
from tinyq.audit.replay.differences import describe
from tinyq.audit.replay.rerun import Enough
from tinyq.audit.step.check_result import check_record
from tinyq.audit.step.dump import first_difference, step_file
from tinyq.audit.step.step_check import check
from tinyq.errors import AuditMismatch
from tinyq.optim import Optimizer
from tinyq.run import checkpoint
from tinyq.run.checkpoint import Position
from tinyq.run.observers import float_baseline
from tinyq.run.phases import Phase
from tinyq.streams import Streams

Examiner = Callable[[Captured, Streams], None]
COMPARED = (*FIXED, "checkpoint", "check")


class Comparison(Recorder):
    """Compare the records made with the expected ones, one by one; raise Enough when all are compared.

    steps, checkpoints, checks, others: numbers of records that agreed.
    """

    def __init__(self, kind: str, expected: Iterable[dict], wanted: set[int], examiner: Examiner | None,
                 on_step: Callable[[], None] = lambda: None):
        """kind: of digests. expected: records; only the kinds in COMPARED are compared. wanted: steps to examine."""
        super().__init__(kind, self._compare)
        self._expected: Iterator[dict] = (record for record in expected if record["record"] in COMPARED)
        self._next: dict | None = next(self._expected, None)
        self.wanted, self.examiner, self.on_step = wanted, examiner, on_step
        self.steps = self.checkpoints = self.checks = self.others = 0
        self.kept_difference = ""           # of the step's arrays from those that --audit full kept

    @property
    def is_done(self) -> bool:
        """True when every expected record was compared."""
        return self._next is None

    def before_phase(self, phase: Phase, position: Position) -> None:
        """Measure the float network again where the run did."""
        if float_baseline.is_due(self.job, phase):
            figures = float_baseline.test_figures(self.job)
            position.test_float = figures
            self.measured_float(position, float_baseline.weights_of(self.job).state, figures)

    def new_trace(self, step: int, optimizer: Optimizer) -> Trace:
        """Capture a step that is examined, checked or kept whole; trace only the primitives of other steps."""
        self.kept = step_file(self.folder, step)
        whole = self._is_wanted(step) or self._is_next("check") or self.kept.is_file()
        return (Capture if whole else Trace)(self.job.model, optimizer)

    def examine(self, captured: Captured) -> None:
        """Pass a wanted step to the examiner; repeat the check on record; compare the arrays that were kept."""
        self.captured = captured
        if self._is_wanted(captured.step) and self.examiner is not None:
            self.examiner(captured, self.job.streams)
        if self._is_next("check"):
            found = check_record(check(captured, self.job.streams))
            while self._is_next("check"):                   # a run that was killed may have made it twice
                self._compare_check(found)
        if self.kept.is_file() and (element := first_difference(self.kept, captured)):
            self.kept_difference = element

    def end_step(self, phase: Phase, position: Position, objective: float) -> None:
        """Compare the checkpoints that were taken after this step."""
        self.on_step()
        self._compare_checkpoints(phase, position)

    def end_epoch(self, phase: Phase, epoch: int, position: Position, metrics: dict) -> None:
        """Compare the epoch, and the checkpoints that were taken after it."""
        super().end_epoch(phase, epoch, position, metrics)
        self._compare_checkpoints(phase, position)

    def _compare_checkpoints(self, phase, position):
        while self._is_next("checkpoint"):
            found, expected = checkpoint_record(position, checkpoint.states_of(self.job.model, phase)), self._take()
            if differing := _differing(expected, found):
                raise AuditMismatch(f"step {position.steps}: the recorded checkpoint holds another state "
                                    f"({', '.join(differing)} differ), although everything before it agrees")
            self.checkpoints += 1
        self._stop_at_the_end()

    def _compare_check(self, found):
        expected = self._take()
        if differing := [key for key in _differing(expected, found) if not nearly_equal(expected, found, key)]:
            raise AuditMismatch(f"step {expected['step']}: its recorded check differs in {', '.join(differing)}")
        self.checks += 1

    def _compare(self, record):
        expected, is_step = self._take(), record["record"] == "step"
        if fields := _differing(expected, record):
            found = describe(expected, record, fields, list(self.parameters), list(self.buffers), self.trace)
            raise AuditMismatch(f"step {record['step']}: {found}" + (f"; {self.kept_difference}" if is_step
                                                                     and self.kept_difference else ""))
        if is_step and self.kept_difference:
            raise AuditMismatch(f"step {record['step']}: every digest agrees, but the stored arrays do not: "
                                f"{self.kept_difference}")
        self.steps += is_step
        self.others += not is_step
        if record["record"] != "step" and record["record"] != "epoch":
            self._stop_at_the_end()

    def _take(self):
        assert self._next is not None           # Enough was raised with the last one
        record, self._next = self._next, next(self._expected, None)
        return record

    def _is_next(self, kind):
        return self._next is not None and self._next["record"] == kind

    def _is_wanted(self, step):
        return self.examiner is not None and step in self.wanted

    def _stop_at_the_end(self):
        if self.is_done:
            raise Enough


def _differing(expected, found):
    return [key for key in differing_keys(expected, found) if key != "prev"]


def nearly_equal(expected: dict, found: dict, key: str) -> bool:
    """Compare cosines and errors of a check with a tolerance: NumPy's float64 sums depend on the machine."""
    if key == "largest_error":
        return abs(expected[key] - found[key]) <= CHECK_TOLERANCE * max(abs(expected[key]), abs(found[key]))
    if key == "surrogates" and all(type(value) in (float, type(None)) for value in expected[key].values()):
        return expected[key].keys() == found[key].keys() and all(
            a == b or None not in (a, b) and abs(a - b) <= CHECK_TOLERANCE for a, b in
            ((value, found[key][name]) for name, value in expected[key].items()))
    return False


CHECK_TOLERANCE = 1e-6                  # relative, of largest_error; absolute, of cosines
