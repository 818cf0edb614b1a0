"""The observer that writes the records of a run to its ledger, and checks or keeps steps while training."""
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tinyq.audit.capture.capture import Capture, Captured
from tinyq.audit.ledger.environment import environment
from tinyq.audit.ledger.hash_chain import FIXED, FORMAT, NOTHING_BEFORE, Ledger, chain
from tinyq.audit.ledger.records import UNAUDITED_FIGURES
from tinyq.audit.recording.checkpoint_record import check_state, checkpoint_record
from tinyq.audit.recording.recorder import Recorder
from tinyq.audit.step import dump
from tinyq.audit.step.check_result import check_record, raise_faults
from tinyq.audit.step.step_check import check
from tinyq.data import Batch
from tinyq.errors import AuditMismatch, CannotCreate, Diverged, InputOutputError, UsageError
from tinyq.files.atomic import remove
from tinyq.files.journal import LEDGER_FILE
from tinyq.files.read import sha256_of
from tinyq.optim import Optimizer
from tinyq.run.build import Job
from tinyq.run.checkpoint import Position, path_of
from tinyq.run.observers.best_effort import BestEffort
from tinyq.run.phases import Phase
from tinyq.saved.run_folder import CONFIG_FILE, resume_command, weights_file

MAX_WAITING = 64 * 2**20                # bytes of records that may wait in memory until the disk accepts them


class LedgerWriter(Recorder):
    """Write the records of a run to its ledger.

    Records that the disk refuses wait in memory, in the same chain, and training continues. No checkpoint is written
    meanwhile: a run killed then resumes from the last checkpoint and makes the lost records again.
    """

    def __init__(self, kind: str, every: int = 0):
        """Check every `every`-th step in float64, none for 0; the ledger is opened by `begin`."""
        super().__init__(kind, self._add)
        self._ledger: Ledger | None = None
        self.every = every
        self._write = BestEffort(lambda text: self.log(text), "training continues, and its records wait in memory")
        self._write_arrays = BestEffort(lambda text: self.log(text), "training continues without these arrays")

    @property
    def ledger(self) -> Ledger:
        """The ledger, open since `begin`."""
        assert self._ledger is not None
        return self._ledger

    @property
    def head(self) -> str | None:                                           # type: ignore[override]
        """The SHA-256 of the last record, None before the first."""
        return None if self._ledger is None else self._ledger.head

    def check_resume(self, folder: Path, position: Position, states: dict[str, dict]) -> None:
        """Raise AuditMismatch unless the checkpoint is the one on record."""
        check_state(folder, position, states, _line_of(folder, position.ledger_head))

    def check_extension(self, folder: Path, position: Position) -> None:
        """Raise UsageError where steps after the checkpoint are on record: they had the epochs from before."""
        lines = chain(Path(folder) / LEDGER_FILE)
        if any(line.head == position.ledger_head for line in lines) and any(line.kind in FIXED for line in lines):
            raise UsageError(f"--epochs: steps after the newest checkpoint of {folder} are on record; continue the run "
                             f"first: {resume_command(folder)}")

    def extended(self, position: Position) -> None:
        """Record the new number of epochs."""
        self._add({"record": "extension", "step": position.steps, "epochs": position.made_with["epochs"]})

    def begin(self, job: Job, folder: str | Path, position: Position) -> None:
        """Open the ledger; for a resumed run, continue it after the record of its checkpoint."""
        super().begin(job, folder, position)
        self._ledger = ledger = Ledger(self.folder / LEDGER_FILE, position.ledger_head)
        if ledger.damage:
            self.log(f"tinyq: {ledger.damage}; the records after the checkpoint are made again")
        if ledger.head == NOTHING_BEFORE:
            start = {"weights_file": sha256_of(weights_file(job.config.weights))} if job.config.weights else {}
            self._add({"record": "begin", "format": FORMAT, "audit": self.kind, "environment": environment(),
                       "config_sha256": sha256_of(self.folder / CONFIG_FILE), "settings": position.made_with,
                       "data": job.bundle.read, "print_freq": job.config.print_freq, **start})
        else:
            self._add({"record": "resume", "step": position.steps, "repeated": len(ledger.expected),
                       "head": ledger.old_head, "environment": environment(), "print_freq": job.config.print_freq})
            self._record_checkpoint(position)

    def begin_phase(self, phase: Phase, position: Position, resumed: bool) -> None:
        """Record the phase unless it is resumed; announce the size of --audit full."""
        super().begin_phase(phase, position, resumed)
        if self.kind == "full":
            size, steps = dump.expected_bytes(self.job, phase) / 2**20, self._steps_left(phase, position)
            self.log(f"--audit full: {phase.name} writes about {size:,.2f} MiB per step, {size * steps:,.0f} MiB in "
                     f"{steps:,} steps, to {self.folder / dump.STEPS}")

    @contextmanager
    def step(self, phase: Phase, position: Position, batches: Sequence[Batch]) -> Iterator[None]:
        """Record the step, or that it diverged; InputOutputError where too many records wait for the disk."""
        try:
            with super().step(phase, position, batches):
                yield
        except Diverged as error:
            self._add({"record": "exception", "step": position.steps + 1, "message": str(error)})
            raise
        if self.ledger.waiting > MAX_WAITING:
            raise InputOutputError(f"{self.ledger.path}: {self.ledger.waiting >> 20:,} MiB of records cannot be "
                                   "written; free some space")

    def new_trace(self, step: int, optimizer: Optimizer) -> Capture | None:
        """Capture a step that is to be checked or kept whole."""
        wanted = self.kind == "full" or self._is_checked(step)
        return Capture(self.job.model, optimizer) if wanted else None

    def examine(self, captured: Captured) -> None:
        """Keep the step's arrays, and check it; AuditMismatch for a fault, after which its arrays stay on the disk."""
        if self.kind == "full":
            self._write_arrays(lambda: dump.write(dump.step_file(self.folder, captured.step), captured))
        if self._is_checked(captured.step):
            found = check(captured, self.job.streams)
            self._add(check_record(found))
            raise_faults(found, self.folder, captured)

    def sync(self) -> None:
        """Wait until all records are on the disk; InputOutputError where the disk refuses them."""
        self.ledger.sync()

    def saved(self, path: str | Path, position: Position) -> None:
        """Record the SHA-256 of a file; InputOutputError for one that cannot be read back, which is removed."""
        try:
            sha256 = sha256_of(path)
        except OSError as error:
            with suppress(InputOutputError):
                remove(path)
            raise InputOutputError(f"{path}: written, but it cannot be read ({error.strerror}), so it was removed; "
                                   "check this disk") from error
        self._add({"record": "file", "step": position.steps, "file": Path(path).relative_to(self.folder).as_posix(),
                   "sha256": sha256})

    def checkpoint(self, position: Position, states: dict[str, dict]) -> None:
        """Record the place and the SHA-256 of the states, before they are written."""
        self._add(checkpoint_record(position, states))

    def measured(self, position: Position, figures: dict) -> None:
        """Record the figures of result.json, except the run's duration."""
        self._add({"record": "result", "step": position.steps,
                   "figures": {key: value for key, value in figures.items() if key not in UNAUDITED_FIGURES}})

    def finish(self, position: Position, state: dict) -> dict:
        """Record the digest of the finished network; return the head of that record for model.h5."""
        from tinyq.files.weights import weights_sha256

        self._add({"record": "end", "step": position.steps, "weights_sha256": weights_sha256(state)})
        return {"ledger_head": self.head}

    def close(self) -> None:
        """Close the ledger; a failure here must not hide why the run ended."""
        if self._ledger is not None:
            with suppress(CannotCreate, InputOutputError):
                self._ledger.sync()
            with suppress(OSError):
                self._ledger.close()

    def _steps_left(self, phase, position):
        """Return an upper bound of the steps left in the phase."""
        config, batches = self.job.config, len(self.job.loader)
        epochs_left = phase.epochs - position.epoch
        steps = epochs_left * -(-batches // config.accumulate) - position.batch // config.accumulate
        return steps if config.max_steps is None else max(0, min(steps, config.max_steps - position.steps))

    def _is_checked(self, step):
        return self.every > 0 and step % self.every == 0

    def _add(self, record):
        self._write(lambda: self.ledger.add(record))

    def _record_checkpoint(self, position):
        """Record the file of a checkpoint after which the run was killed; its states are those on record."""
        path = path_of(self.folder / "checkpoints", position.steps)
        if path.is_file() and path.relative_to(self.folder).as_posix() not in self.ledger.kept_files:
            self.saved(path, position)


def _line_of(folder, head):
    """Return the line with this SHA-256; AuditMismatch where the ledger contains no such line."""
    path = Path(folder) / LEDGER_FILE
    found = next((line for line in chain(path) if line.head == head), None) if path.is_file() else None
    if found is None:
        raise AuditMismatch(f"{path}: contains no line with SHA-256 {head}, the head in the checkpoint; restore the "
                            "ledger of this run, or start a new run")
    return found
