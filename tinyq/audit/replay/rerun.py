"""Repeat a stretch of a run, with its configuration and data, from the beginning or from a checkpoint."""
import dataclasses
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from tinyq.audit.ledger.hash_chain import differing_keys, plain
from tinyq.audit.ledger.history import Checkpoint, History, read_history
from tinyq.audit.recording.checkpoint_record import check_state, file_of
from tinyq.audit.recording.recorder import Recorder
from tinyq.errors import AuditMismatch, BadInput
from tinyq.files.read import sha256_of
from tinyq.output.terminal import tell_once
from tinyq.own_code import RunCode, code_in
from tinyq.run import checkpoint
from tinyq.run.build import Job, build
from tinyq.run.checkpoint import Position
from tinyq.run.loop import Loop
from tinyq.run.settings import plugins
from tinyq.run.settings.resolve import resolve
from tinyq.run.settings.toml_file import checked, read_flat
from tinyq.saved.attributes import shape_of
from tinyq.saved.run_folder import CONFIG_FILE, anchored, weights_file


class Enough(Exception):
    """Raised by an observer to end the repetition: the last wanted record is compared."""


class Era(NamedTuple):
    """The part of a run that had one number of epochs, up to and including a last step; None: to the end."""

    epochs: int
    last: int | None


@dataclass(frozen=True)
class Source:
    """A run folder to repeat.

    changes: settings that the results do not depend on (threads, workers, data_path), and `model`, a file to run in
    place of the copy of the user's own network in the folder. trust: run the copies of the user's own code.
    """

    folder: Path
    changes: dict
    trust: bool = False

    @cached_property
    def history(self) -> History:
        """Summary of the ledger; AuditMismatch where its steps are not numbered from 1 on."""
        history = read_history(self.folder)
        if history.steps != history.counts["step"]:
            raise AuditMismatch(f"{self.folder}: the ledger has {history.counts['step']} steps, and the last is number "
                                f"{str(history.steps)[:20]}")
        return history

    @cached_property
    def written(self) -> dict:
        """The settings in config.toml, whatever their names."""
        return read_flat(self.folder / CONFIG_FILE)

    @cached_property
    def code(self) -> RunCode:
        """The user's own code in the run; BadInput where it is not trusted, or is not the recorded one."""
        kept = {key: value for key, value in self.written.items() if key not in self.changes}
        recorded = self.history.begin.record["settings"].get("code")
        return RunCode.trusted(self.folder, kept, self.trust, recorded) | RunCode.read(self.changes)

    @property
    def eras(self) -> list[Era]:
        """The run, cut where it was extended."""
        history, eras = self.history, []
        epochs = history.begin.record["settings"].get("epochs")
        if type(epochs) is not int or not 0 <= epochs < 1 << 31:
            raise AuditMismatch(f"{self.folder}: the settings on record have no number of epochs")
        for extension in history.extensions:
            eras.append(Era(epochs, extension["step"]))
            epochs = extension["epochs"]
        return [*eras, Era(epochs, None)]

    def job(self, era: Era | None = None) -> Job:
        """Build the job as it was before the first step; era: whose number of epochs it has, None for the last.

        BadInput where the data differ from the run's, or the run has code that is not trusted.
        """
        recorded = self.history.begin.record
        plugins.activate(self.code.plugins)
        settings = checked(self.folder / CONFIG_FILE, self.written)
        epochs, last = era or self.eras[-1]
        config = anchored(resolve({**code_in(settings), **self.changes}, settings)).config
        self._check_weights(config.weights, recorded.get("weights_file"))
        job = build(dataclasses.replace(config, max_steps=last, epochs=epochs), self.code)
        self._tell_replaced(recorded["settings"].get("code"))
        self._check_data(recorded["data"], plain(job.bundle.read))
        return job

    def _tell_replaced(self, recorded: object) -> None:
        """Say whether a file that a flag names in place of a copy is the one on record."""
        known = recorded.values() if isinstance(recorded, dict) else ()
        for file in (self.code.functions[key].file for key in code_in(self.changes)):
            tell_once(f"tinyq: note: --model runs {file.path}, SHA-256 {file.sha256}, "
                      + ("as on record" if file.sha256 in known else "another than on record"))

    def _check_weights(self, weights, recorded):
        if weights and sha256_of(path := weights_file(weights)) != recorded:
            raise BadInput(f"{path}: not the file that {self.folder} started from (--weights), which has SHA-256 "
                           f"{recorded}; put that file there again")

    def _check_data(self, recorded, found):
        differing = ", ".join(key for key in differing_keys(recorded, found) if key != "passed_over")  # of no sample
        if differing:
            raise BadInput(f"{self.folder}: the data here are not those on record ({differing} differ); give the "
                           "folder of the run's data with --data-path")

    @cached_property
    def starts(self) -> list[Checkpoint | None]:
        """The places to start from, in the order of the run: the beginning (None), and checkpoints with a file."""
        return [None, *(recorded for recorded in self.history.checkpoints.values()
                        if file_of(self.folder, recorded.line) is not None)]

    def states(self, start: Checkpoint | None) -> tuple[Position, dict | None]:
        """Load (position, states) of a start; AuditMismatch unless they are those on record."""
        if start is None:
            return Position(), None
        position, states = checkpoint.load(checkpoint.path_of(self.folder / "checkpoints", start.step))
        check_state(self.folder, position, states, start.line)
        return position, states


def rerun(source: Source, start: Checkpoint | None, observer: Recorder) -> Position:
    """Train from a start on until the observer raises Enough; AuditMismatch if the run ends before.

    Returns the position reached; the job is the observer's.
    """
    position, states = source.states(start)
    try:
        for era in source.eras:
            if era.last is None or era.last > position.steps:
                states = _rerun_era(source, era, position, states, observer)
    except Enough:
        return position
    finally:
        observer.close()
    raise AuditMismatch(f"{source.folder}: repeated from step {start.step if start else 0}, the run ends after step "
                        f"{position.steps}, before everything on record was compared")


def check_input_shape(source: Source, job: Job, position: Position) -> None:
    """Raise AuditMismatch where a checkpoint says another shape of the input than the data have."""
    if position.network and shape_of(position.network) != job.bundle.input_shape:
        raise AuditMismatch(f"{source.folder}: the checkpoint of step {position.steps} says another input_shape "
                            "than the data")


def _rerun_era(source: Source, era: Era, position: Position, states: dict | None, observer: Recorder) -> dict:
    """Train to the end of an era; return the states there."""
    job = source.job(era)
    check_input_shape(source, job, position)
    observer.begin(job, source.folder, position)
    Loop(job, position, observer).run(states)
    return checkpoint.states_of(job.model, job.phases[position.phase])
