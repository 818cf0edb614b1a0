"""The observer that makes the records of a run: digests and metrics of every step, phase and epoch."""
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tinyq.audit.capture.capture import Capture, Captured
from tinyq.audit.capture.step_trace import LatestOutput, Trace, is_digested, is_vjp_digested
from tinyq.audit.ledger.digests import NAMING_KINDS, digest_of, digests_of
from tinyq.audit.methods.method_table import audit_of
from tinyq.autodiff import tape
from tinyq.data import Batch
from tinyq.files.weights import weights_sha256
from tinyq.optim import Optimizer
from tinyq.run.build import Job
from tinyq.run.checkpoint import Position
from tinyq.run.observers.observer import Observer
from tinyq.run.phases import Phase


class Recorder(Observer):
    """Make the records of a run and hand each to `keep`; the run itself is not modified."""

    def __init__(self, kind: str, keep: Callable[[dict], None]):
        """kind: of digests, a key of digests.KINDS; keep: receives each record."""
        self.kind, self.keep = kind, keep
        self._ops, self._vjps, self._gradients = (NAMING_KINDS[kind]() for _ in range(3))
        self._latest_output = LatestOutput()
        self.trace: Trace | None = None

    def begin(self, job: Job, folder: str | Path, position: Position) -> None:
        """Remember the job and its folder."""
        self.job, self.folder = job, Path(folder)

    def begin_phase(self, phase: Phase, position: Position, resumed: bool) -> None:
        """Record the weights and the state of the method that a phase starts from, unless it is resumed."""
        self.parameters = dict(self.job.model.named_parameters())
        self.buffers = dict(self.job.model.named_buffers())
        self.metrics = audit_of(type(phase.method).__name__).metrics(phase.method, self.kind)
        metrics = self.metrics.epoch()
        if not resumed:
            self.keep({"record": "phase", "phase": phase.name, "epoch": phase.epoch_number(0), "step": position.steps,
                       "method": type(phase.method).__name__, "optimizer": type(phase.optimizer).__name__,
                       "tensors": {name: list(p.shape) for name, p in self.parameters.items()},
                       "buffers": {name: list(array.shape) for name, array in self.buffers.items()},
                       "constrained": [name for name, p in self.parameters.items() if p.parametrization is not None],
                       **self._weights_digest(), "metrics": metrics})

    def measured_float(self, position: Position, state: dict, figures: dict | None) -> None:
        """Record the float network that the last phase starts from."""
        measured = {} if figures is None else {"figures": _exact(figures)}
        self.keep({"record": "float", "step": position.steps, "weights_sha256": weights_sha256(state), **measured})

    @contextmanager
    def step(self, phase: Phase, position: Position, batches: Sequence[Batch]) -> Iterator[None]:
        """Digest the results of primitives and vjps during the step, then gradients and weights; record them."""
        self.trace = self.new_trace(position.steps + 1, phase.optimizer)
        if phase.method.uses_gradients:
            with tape.traced(self._note), tape.traced_vjps(self._note_vjp):
                yield
        else:
            yield
        if isinstance(self.trace, Capture):
            self.examine(self.trace.finished(phase, position, batches))
        self.keep(self._step_record(phase, position, batches))

    def new_trace(self, step: int, optimizer: Optimizer) -> Trace | None:
        """Return an empty Trace or Capture to fill during this step, None for neither; subclasses choose."""

    def examine(self, captured: Captured) -> None:
        """Receive a captured step after its end, before it is recorded."""

    def end_epoch(self, phase: Phase, epoch: int, position: Position, metrics: dict) -> None:
        """Record the epoch's metrics, the weights, and the state of the method that the next epoch starts from."""
        self.keep({"record": "epoch", "phase": phase.name, "epoch": epoch,
                   "step": position.steps, "measured": _exact(metrics),
                   **self._weights_digest(), "metrics": self.metrics.epoch()})

    def _step_record(self, phase, position, batches):
        skipped = self._skipped(position, batches)
        ids, x, w = digests_of(self.kind, [a for batch in batches for a in (batch.indices, batch.y)],
                               [batch.x for batch in batches], self._weights())
        return {"record": "step", "step": position.steps + 1, "phase": phase.name,
                "epoch": phase.epoch_number(position.epoch), "batch": position.batch,
                "lr": [group["lr"].hex() for group in phase.optimizer.groups],
                **({"skipped": skipped} if skipped else {}), "ids": ids.root, "x": x.root,
                **self._gradient_digests(phase.method), "w": w.root, "w_of": w.leaves,
                "metrics": self.metrics.step()}

    def _note(self, primitive, inputs, params, output):
        if is_digested(primitive):
            self._digest_latest_output()
            self._latest_output.begin(output)
        else:
            self._latest_output.follow(primitive, inputs, output)
        if self.trace:
            self.trace.note(primitive, inputs, params, output)

    def _digest_latest_output(self):
        array = self._latest_output.take()
        if array is not None:
            self._ops.add(array)

    def _note_vjp(self, node, position, parent, g, gx):
        if is_vjp_digested(node, parent):
            self._vjps.add(gx)
        if self.trace:
            self.trace.note_vjp(node, position, parent, g, gx)

    def _skipped(self, position, batches):
        """Count the samples of these batches that could not be read."""
        most = self.job.loader.samples(position.batch, self.job.config.accumulate)
        return max(0, most - sum(len(batch.y) for batch in batches))

    def _gradient_digests(self, method):
        """Digest the results of primitives and vjps, and the gradients; {} for a method without gradients."""
        if not method.uses_gradients:
            return {}
        self._digest_latest_output()
        for p in self.parameters.values():
            self._gradients.add(p.grad)
        collected = self._ops, self._vjps, self._gradients
        ops, vjps, g = self._ops.joined(collected)
        for digests in collected:
            digests.clear()
        return {"ops": ops.root, "ops_of": ops.leaves, "vjps": vjps.root, "vjps_of": vjps.leaves,
                "g": g.root, "g_of": g.leaves}

    def _weights(self):
        return [*(p.data for p in self.parameters.values()), *self.buffers.values()]

    def _weights_digest(self):
        w = digest_of(self.kind, self._weights())
        return {"w": w.root, "w_of": w.leaves}


def _exact(figures: dict) -> dict:
    """Return the figures with each float in hexadecimal, as a ledger has them."""
    return {name: value.hex() if isinstance(value, float) else value for name, value in figures.items()}
