"""Repeat a stretch of a run, with its configuration and data, from the beginning or from a checkpoint."""
import dataclasses
from dataclasses import dataclass
from pathlib import Path

from tinyq.audit.ledger.hash_chain import Line
from tinyq.audit.recording.recorder import Recorder
from tinyq.audit.verification.verify import open_ledger
from tinyq.errors import AuditMismatch, BadInput
from tinyq.output.terminal import tell_once
from tinyq.run import checkpoint
from tinyq.run.build import Job, build
from tinyq.run.checkpoint import Position
from tinyq.run.loop import Loop
from tinyq.run.settings.resolve import read_toml, resolve
from tinyq.saved.run_folder import CONFIG_FILE, anchored, trusted_network


class Enough(Exception):
    """Raised by an observer to end the repetition: the last wanted step is done."""


@dataclass(frozen=True, eq=False)
class Source:
    """A run folder to repeat.

    changes: settings that the results do not depend on (threads, workers, data_path), and `model`, a file to run in
    place of the copy of the user's own network in the folder. trust: run that copy.
    """

    folder: Path
    changes: dict
    trust: bool = False

    def lines(self) -> list[Line]:
        """Read the ledger."""
        return open_ledger(self.folder)

    def job(self) -> Job:
        """Build the job as it was before the first step.

        BadInput where the data differ from the run's, or its network is code that is not trusted.
        """
        settings, recorded = read_toml(self.folder / CONFIG_FILE), self.lines()[0].record["settings"]
        changes, network = self.changes, None
        if "model" not in changes:
            model = str(settings.get("model"))
            network = trusted_network(self.folder, model, self.trust, recorded.get("model_sha256"))
            changes = {**changes, "model": model} if network else changes
        job = build(dataclasses.replace(anchored(resolve(changes, settings)).config, max_steps=None), network)
        if job.network:
            tell_once(f"tinyq: note: running {job.network.path}, SHA-256 {job.network.sha256}, " + (
                "as on record" if job.network.sha256 == recorded.get("model_sha256") else "another than on record"))
        recorded, found = str(self.lines()[0].record["data"].get("sha256")), job.bundle.manifest["sha256"]
        if found != recorded:
            raise BadInput(f"{self.folder}: the data here (sha256 {found[:12]}) differ from the run's "
                           f"({recorded[:12]}); give the folder of the run's data with --data-path")
        return job

    def checkpoints(self) -> dict[int, Path | None]:
        """Return {step: file} of the recorded checkpoints that still exist, ascending; 0: None is the beginning."""
        recorded = {line.record["file"]: line.record for line in self.lines() if line.kind == "file"}
        begin = self.lines()[0].record["step"]
        found: dict[int, Path | None] = {} if begin else {0: None}
        for name, record in sorted(recorded.items()):
            path = self.folder / name
            if name.startswith("checkpoints/") and path.is_file():
                found[record["step"]] = path
        return found

    def states(self, path: Path | None) -> tuple[Position, dict | None]:
        """Load (position, states) from a checkpoint; AuditMismatch if it was written under another ledger."""
        if path is None:
            return Position(), None
        position, states = checkpoint.load(path)
        if position.ledger_head not in {line.head for line in self.lines()}:
            raise AuditMismatch(f"{path}: was not written under this ledger")
        return position, states


def rerun(source: Source, start: Path | None, observer: Recorder) -> None:
    """Train from a checkpoint's path on, or from the beginning (None), until the observer raises Enough."""
    job = source.job()
    position, states = source.states(start)
    observer.begin(job, source.folder, position)
    try:
        Loop(job, position, observer).run(states)
    except Enough:
        pass
    finally:
        observer.close()
