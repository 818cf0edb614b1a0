"""The observer that keeps the ledger: a record of every step, of digests and figures, on its way to the disk."""
from contextlib import contextmanager, suppress
from pathlib import Path

from tinyq.audit.ledger.digests import KINDS, digest_of
from tinyq.audit.ledger.environment import environment
from tinyq.audit.ledger.hash_chain import FORMAT, LEDGER_FILE, NOTHING_BEFORE, Ledger
from tinyq.audit.ledger.step_trace import is_digested, is_vjp_digested
from tinyq.audit.recording.figures import figures_of
from tinyq.audit.step import dump
from tinyq.audit.step.capture import Capture
from tinyq.audit.step.step_check import check
from tinyq.audit.step.verdict import refuse_faults
from tinyq.autodiff import tape
from tinyq.errors import CannotCreate, Diverged, InputOutputError
from tinyq.files.atomic import remove
from tinyq.files.read import sha256_of
from tinyq.methods import GradientMethod
from tinyq.run.best_effort import Attempts
from tinyq.run.observer import Observer
from tinyq.saved.run_folder import CONFIG_FILE

STEPS = "steps"                         # folder of the arrays that --audit full keeps
MAX_WAITING = 64 * 2**20               # bytes of records that may wait in memory for a disk to take them


class Recorder(Observer):
    """Makes the records of a run; `keep(record)` is told each. What it reads it does not change."""

    def __init__(self, kind: str, keep):
        """kind: of digests, a key of digests.KINDS."""
        self.kind, self.keep, self._ops, self._vjps = kind, keep, KINDS[kind](), KINDS[kind]()

    def begin(self, job, folder, position):
        """Remember what the run works on."""
        self.job, self.folder = job, Path(folder)

    def begin_phase(self, phase, position, resumed):
        """What the phase starts from; nothing is recorded of one that is resumed."""
        self.parameters = dict(self.job.model.named_parameters())
        self.buffers = dict(self.job.model.named_buffers())
        self.figures = figures_of(phase.method, self.kind)
        figures = self.figures.epoch()
        if not resumed:
            self.keep({"record": "phase", "phase": phase.name, "epoch": phase.first_epoch, "step": position.steps,
                       "method": type(phase.method).__name__, "optimizer": type(phase.optimizer).__name__,
                       "tensors": {name: list(p.shape) for name, p in self.parameters.items()},
                       "buffers": {name: list(array.shape) for name, array in self.buffers.items()},
                       "constrained": [name for name, p in self.parameters.items() if p.parametrization is not None],
                       **self._weights(), "figures": figures})

    @contextmanager
    def step(self, phase, position, batches):
        """Digest what every primitive and every vjp makes while the method works, then gradients and weights."""
        kind = self.tracing(position.steps + 1)
        self.trace = kind(self.job.model, phase.optimizer) if kind else None
        if isinstance(phase.method, GradientMethod):
            with tape.traced(self._note), tape.traced_vjps(self._note_vjp):
                yield
        else:
            yield
        if isinstance(self.trace, Capture):
            self.examine(self.trace.finished(phase, position, batches))
        where = {"record": "step", "step": position.steps + 1, "phase": phase.name,
                 "epoch": phase.first_epoch + position.epoch, "batch": position.batch,
                 "lr": [group["lr"].hex() for group in phase.optimizer.groups]}
        ids = digest_of(self.kind, [a for batch in batches for a in (batch.indices, batch.y)])
        x = digest_of(self.kind, [batch.x for batch in batches])
        skipped = self._skipped(position, batches)
        self.keep({**where, **({"skipped": skipped} if skipped else {}), "ids": ids.root, "x": x.root,
                   **self._on_the_way(phase.method), **self._weights(), "figures": self.figures.step()})

    def tracing(self, step):
        """Trace or Capture, to be filled while this step is made; None for neither."""

    def examine(self, captured):
        """A step that was captured is over; its record comes next."""

    def end_epoch(self, phase, position, figures):
        """The figures of the epoch, and those that the method goes on with."""
        shown = {key: value.hex() if isinstance(value, float) else value for key, value in figures.items()}
        self.keep({"record": "epoch", "phase": phase.name, "epoch": phase.first_epoch + position.epoch,
                   "step": position.steps, "measured": shown,
                   **self._weights(), "figures": self.figures.epoch()})

    def _note(self, primitive, inputs, params, output):
        if is_digested(primitive):
            self._ops.add(output.data)
        if self.trace:
            self.trace.note(primitive, inputs, params, output)

    def _note_vjp(self, node, position, parent, g, gx):
        if is_vjp_digested(node, parent):
            self._vjps.add(gx)
        if self.trace:
            self.trace.note_vjp(node, position, parent, g, gx)

    def _skipped(self, position, batches):
        """How many samples of these batches could not be read."""
        loader = self.job.loader
        most = min(len(loader.dataset) - position.batch * loader.batch_size, len(batches) * loader.batch_size)
        return max(0, most - sum(len(batch.y) for batch in batches))

    def _on_the_way(self, method):
        """Of what every primitive made and of the gradients; nothing for a method that has none."""
        if not isinstance(method, GradientMethod):
            return {}
        ops, vjps = self._ops.take(), self._vjps.take()
        g = digest_of(self.kind, [p.grad for p in self.parameters.values()])
        return {"ops": ops.root, "ops_of": ops.leaves, "vjps": vjps.root, "vjps_of": vjps.leaves,
                "g": g.root, "g_of": g.leaves}

    def _weights(self):
        arrays = [p.data for p in self.parameters.values()]
        w = digest_of(self.kind, [*arrays, *self.buffers.values()])
        return {"w": w.root, "w_of": w.leaves}


class Seal(Recorder):
    """Writes the records of a run to its ledger.

    Records that the disk does not take wait in memory, in the same chain, and training goes on; no checkpoint is
    written meanwhile, so that whatever a kill makes of them follows again from the last one.
    """

    def __init__(self, kind: str, every: int = 0):
        """Check every so many steps, 0 for none; nothing is opened yet."""
        super().__init__(kind, self._add)
        self.ledger, self.every = None, every
        self._write = Attempts(lambda text: self.say(text), "training goes on, and its records wait in memory")
        self._write_arrays = Attempts(lambda text: self.say(text), "training goes on, without these arrays")

    @property
    def head(self):
        """The SHA-256 that stands for all records so far."""
        return None if self.ledger is None else self.ledger.head

    def begin(self, job, folder, position):
        """Open the ledger, or go on with it behind the checkpoint the run is resumed from."""
        super().begin(job, folder, position)
        self.ledger = Ledger(self.folder / LEDGER_FILE, position.ledger_head, position.steps > 0)
        self._old = len(self.ledger.expected)
        if self.ledger.damage:
            self.say(f"tinyq: {self.ledger.damage}; what follows the checkpoint is made again")
        if self.ledger.head == NOTHING_BEFORE:
            self._add({"record": "begin", "format": FORMAT, "digests": self.kind, "step": position.steps,
                       "environment": environment(), "config_sha256": sha256_of(self.folder / CONFIG_FILE),
                       "settings": position.made_with, "data": job.bundle.manifest})
        else:
            self._note_checkpoint(position)
            self._add({"record": "resume", "step": position.steps, "again": self._old, "head": self.ledger.old_head,
                       "environment": environment()})

    def begin_phase(self, phase, position, resumed):
        """Recorded unless it is resumed, or if this ledger knows nothing of it."""
        super().begin_phase(phase, position, resumed and self.ledger.records > 1)
        if self.kind == "full":
            size, steps = dump.expected_bytes(self.job, phase) / 2**20, self._steps_to_come(phase, position)
            self.say(f"--audit full: {phase.name} keeps about {size:,.2f} MiB a step, {size * steps:,.0f} MiB for "
                     f"{steps:,} steps, in {self.folder / STEPS}")

    @contextmanager
    def step(self, phase, position, batches):
        """Record the step, or that it diverged; InputOutputError where too many records wait for the disk."""
        try:
            with super().step(phase, position, batches):
                yield
        except Diverged as error:
            self._add({"record": "exception", "step": position.steps + 1, "what": str(error)})
            raise
        if self.ledger.waiting > MAX_WAITING:
            raise InputOutputError(f"{self.ledger.path}: {self.ledger.waiting >> 20:,} MiB of records have waited in "
                                   "vain for the disk to take them; free some space")

    def tracing(self, step):
        """Everything, where the step is to be checked or kept."""
        return Capture if self.kind == "full" or self._is_checked(step) else None

    def examine(self, captured):
        """Keep the step's arrays, check it; AuditMismatch, with a bundle left behind, where a fault is found."""
        path = self.folder / STEPS / f"step-{captured.step:09d}.h5"
        if self.kind == "full":
            self._write_arrays(lambda: dump.write(path, captured))
        if self._is_checked(captured.step):
            found = check(captured, self.job.streams)
            self._add({"record": "check", "step": captured.step, "counts": found.counts, "faults": found.faults,
                       "surrogates": found.surrogates, "closest": found.closest})
            refuse_faults(found, self.folder, captured)

    def sync(self):
        """Wait until all records are on the disk; InputOutputError where it does not take them."""
        self.ledger.sync()

    def saved(self, path, position):
        """The SHA-256 of the file; InputOutputError for one that cannot be read, which is removed."""
        try:
            sha256 = sha256_of(path)
        except OSError as error:
            with suppress(InputOutputError):
                remove(path)
            raise InputOutputError(f"{path}: written, but it cannot be read ({error.strerror}), so it was removed; "
                                   "look after this disk") from error
        self._add({"record": "file", "step": position.steps, "file": Path(path).relative_to(self.folder).as_posix(),
                   "sha256": sha256})

    def finish(self, position, state):
        """The digest of the network as it is saved; model.h5 holds the head of this record."""
        from tinyq.files.weights import weights_sha256

        self._add({"record": "end", "step": position.steps, "weights_sha256": weights_sha256(state)})
        return {"ledger_head": self.head}

    def close(self):
        """Close the ledger; nothing that goes wrong here may hide why the run ended."""
        if self.ledger is not None:
            with suppress(CannotCreate, InputOutputError):
                self.ledger.sync()
            with suppress(OSError):
                self.ledger.close()

    def _steps_to_come(self, phase, position):
        """Those of the phase, at most."""
        config, batches = self.job.config, len(self.job.loader)
        epochs_left = phase.epochs - position.epoch
        steps = epochs_left * -(-batches // config.accumulate) - position.batch // config.accumulate
        return steps if config.max_steps is None else max(0, min(steps, config.max_steps - position.steps))

    def _is_checked(self, step):
        return self.every and step % self.every == 0

    def _add(self, record):
        self._write(lambda: self.ledger.add(record))

    def _note_checkpoint(self, position):
        """A run killed between a checkpoint and its record: the record is made now.

        An older file of that name may be on record: a step that ends an epoch can be saved before the end and after it.
        """
        path = self.folder / "checkpoints" / f"step-{position.steps:09d}.h5"
        known = {line.record["file"]: line.record["sha256"] for line in self.ledger.kept if line.kind == "file"}
        if path.is_file() and known.get(path.relative_to(self.folder).as_posix()) != sha256_of(path):
            self.saved(path, position)
