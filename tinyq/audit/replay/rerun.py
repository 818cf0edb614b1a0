"""A stretch of a run done again: the same configuration and data, from its beginning or from a checkpoint."""
import dataclasses
from dataclasses import dataclass
from pathlib import Path

from tinyq.audit.verification.verify import open_ledger
from tinyq.errors import AuditMismatch, BadInput
from tinyq.run import checkpoint
from tinyq.run.build import build
from tinyq.run.checkpoint import Position
from tinyq.run.loop import Loop
from tinyq.run.settings.resolve import read_toml, resolve
from tinyq.saved.run_folder import CONFIG_FILE, anchored


class Enough(Exception):
    """The last wanted step is done."""


@dataclass(frozen=True, eq=False)
class Source:
    """A run folder that is to be repeated.

    changes: settings that no bit depends on (threads, workers, data_path).
    """

    folder: Path
    changes: dict

    def lines(self):
        """Its ledger."""
        return open_ledger(self.folder)

    def job(self):
        """What it worked on, as it was before the first step; BadInput where the data are not those it saw."""
        settings = read_toml(self.folder / CONFIG_FILE)
        job = build(dataclasses.replace(anchored(resolve(self.changes, settings)).config, max_steps=None))
        recorded = self.lines()[0].record["data"]["sha256"]
        if job.bundle.manifest["sha256"] != recorded:
            raise BadInput(f"{self.folder}: the data here (sha256 {job.bundle.manifest['sha256'][:12]}) are not those "
                           f"that the run saw ({recorded[:12]}); name theirs with --data-path")
        return job

    def checkpoints(self) -> dict[int, Path]:
        """{step: file} of those that are there and on record, ascending; 0 with None is the beginning."""
        recorded = {line.record["file"]: line.record for line in self.lines() if line.kind == "file"}
        begin = self.lines()[0].record["step"]
        found = {} if begin else {0: None}
        for name, record in sorted(recorded.items()):
            path = self.folder / name
            if name.startswith("checkpoints/") and path.is_file():
                found[record["step"]] = path
        return found

    def states(self, path):
        """(position, states) of a checkpoint; AuditMismatch if it is not from where the ledger says."""
        if path is None:
            return Position(), None
        position, states = checkpoint.load(path)
        if position.ledger_head not in {line.head for line in self.lines()}:
            raise AuditMismatch(f"{path}: was not written under this ledger")
        return position, states


def rerun(source: Source, start, observer) -> None:
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
