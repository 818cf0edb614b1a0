"""State shared by the examinations of a run folder: its history, its configuration, the network at its end."""
import dataclasses
import hashlib
from functools import cached_property

from tinyq.audit.ledger.hash_chain import Line, plain
from tinyq.audit.ledger.history import History
from tinyq.audit.recording.checkpoint_record import file_of
from tinyq.audit.verification.finished import Finished, finished_of
from tinyq.errors import AuditMismatch
from tinyq.files import weights as weight_files
from tinyq.files.read import read_file
from tinyq.own_code import RunCode, code_in
from tinyq.own_code.code_names import PLUGIN
from tinyq.run import checkpoint
from tinyq.run.checkpoint import Position
from tinyq.run.session import made_with
from tinyq.run.settings import plugins
from tinyq.run.settings.config import Config
from tinyq.run.settings.extension import epochs_in, restored
from tinyq.run.settings.resolve import resolve
from tinyq.run.settings.toml_file import MAX_TOML_BYTES, checked, config_as_written, read_flat
from tinyq.saved.attributes import shape_of
from tinyq.saved.run_folder import CONFIG_FILE, MODEL_FILE, anchored


class Evidence:
    """A run folder under examination."""

    def __init__(self, history: History, trust: bool = False):
        """history: of the run's ledger; trust: run the copies of the user's own code in the folder."""
        self.history, self.run, self.trust = history, history.run, trust

    @cached_property
    def config(self) -> Config:
        """The configuration in config.toml; the user's own code is named in it, and not run.

        Where it names plug-ins that do not run here, it is taken as it is written.
        """
        path = self.run / CONFIG_FILE
        settings = read_flat(path)
        if settings.get(PLUGIN) and not plugins.active():
            return config_as_written(path)
        return anchored(resolve(code_in(settings), checked(path, settings))).config

    @property
    def lacks_plugins(self) -> bool:
        """True where the run has plug-ins that do not run here."""
        return bool(self.config.plugin) and not plugins.active()

    @property
    def code(self) -> dict[str, str]:
        """The settings of config.toml that name code of the user's own, with the paths they had."""
        return code_in(vars(self.config))

    @property
    def is_as_recorded(self) -> bool:
        """True where config.toml, without its extensions, has the SHA-256 on record."""
        return hashlib.sha256(self.begun[0].encode()).hexdigest() == self.history.begin.record["config_sha256"]

    @cached_property
    def begun(self) -> tuple[str, list[tuple[int, int]]]:
        """The config.toml that the run began with, and its extensions: (step, epochs from there on)."""
        return restored(read_file(self.run / CONFIG_FILE, MAX_TOML_BYTES).decode())

    @property
    def settings(self) -> dict:
        """The settings that config.toml gave the run when it began, as a ledger writes them."""
        begin = self.history.begin.record
        own = begin["settings"].get("code") if self.code else None
        config = dataclasses.replace(self.config, epochs=epochs_in(self.begun[0]) or 0)
        found = plain(made_with(config, begin["data"]["sha256"], own))
        assert isinstance(found, dict)
        return found

    @cached_property
    def attributes(self) -> dict:
        """The attributes of model.h5."""
        return weight_files.read_attributes(self.run / MODEL_FILE)

    @property
    def end(self) -> Line:
        """The record of the run's end; AuditMismatch without one."""
        if self.history.end is None:
            raise AuditMismatch("the ledger has no end, but the folder has files of a finished run")
        return self.history.end

    @cached_property
    def last_state(self) -> tuple[Position, dict[str, dict]] | None:
        """(position, states) of the checkpoint that the end was made from; None where its file is gone."""
        at_end = self.history.at_end
        path = None if at_end is None else file_of(self.run, at_end.line)
        return None if path is None else checkpoint.load(path)

    @cached_property
    def finished(self) -> Finished | None:
        """The network derived from the last state; None without one, or where it is code that is not trusted."""
        return None if self.last_state is None else self._finished_of(*self.last_state)

    def finished_at(self, steps: int | None) -> Finished | None:
        """The network derived from the last checkpoint of this step; None as for `finished`."""
        lines = [recorded.line for recorded in self.history.checkpoints.values() if recorded.step == steps]
        path = file_of(self.run, lines[-1]) if lines else None
        return None if path is None else self._finished_of(*checkpoint.load(path))

    def _finished_of(self, position: Position, states: dict[str, dict]) -> Finished | None:
        if self.code and not self.trust:
            return None
        sha256 = self.history.begin.record["settings"].get("code")
        network = RunCode.trusted(self.run, self.code, self.trust, sha256).functions.get("model")
        classes = len(self.history.begin.record["data"]["class_names"])
        return finished_of(self.config, network or self.config.model, classes, shape_of(self.attributes),
                           position, states)
