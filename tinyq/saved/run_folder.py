"""The files of a run folder and the paths in its settings."""
import dataclasses
import os
import shlex
from pathlib import Path
from typing import Any

from tinyq import data
from tinyq.errors import BadInput
from tinyq.models import UserFile, names_code
from tinyq.output.terminal import tell_once
from tinyq.run.settings.resolve import Resolved, read_toml
from tinyq.saved.foreign.choice import refuse_foreign

CONFIG_FILE, METRICS_FILE, RESULT_FILE = "config.toml", "metrics.jsonl", "result.json"
CHECKPOINTS = "checkpoints"
BEST_FILE = "best.h5"
FLOAT_FILE, MODEL_FILE, PACKED_FILE = "float.h5", "model.h5", "model.tq.h5"


def anchored(resolved: Resolved) -> Resolved:
    """Make the paths absolute, so that the run can be resumed from any working directory."""
    config = resolved.config
    names = ["data_path", "weights", *(["model"] if names_code(config.model) else [])]
    paths: dict[str, Any] = {name: _absolute(getattr(config, name)) for name in names if getattr(config, name)}
    options = {component: {key: _absolute(value) if value and key in data.PATH_OPTIONS else value
                           for key, value in values.items()} for component, values in config.options.items()}
    return dataclasses.replace(resolved, config=dataclasses.replace(config, **paths, options=options))


def weights_file(path: str | Path) -> Path:
    """Return the path, or the model.h5 in it for a run folder.

    BadInput for a folder without one, or for a file that holds no weights, or those of another program.
    """
    path = Path(path)
    if not path.is_dir():
        refuse_foreign(path)
        return path
    if (path / MODEL_FILE).is_file():
        return path / MODEL_FILE
    if any(path.glob("*.py")) and not any(path.glob("checkpoints/*")):      # --trust needs the SHA-256 in a checkpoint
        raise BadInput(f"{path}: this run ended before its first checkpoint; start it again in another folder")
    if (path / CONFIG_FILE).is_file():
        raise BadInput(f"{path}: this run is not finished; name a file of {path / CHECKPOINTS}, or go on with: "
                       f"{resume_command(path)}")
    raise BadInput(f"{path}: neither a run (no {CONFIG_FILE}) nor a weight file")


def resume_command(folder: str | Path) -> str:
    """Return the command that resumes a run; with --trust where the folder keeps a copy of the user's own network."""
    trust = " --trust" if any(Path(folder).glob("*.py")) else ""
    return f"python -m tinyq.train --resume {shlex.quote(str(folder))}{trust}"


def pack_command(folder: str | Path) -> str:
    """Return the command that packs a finished run beside its model.h5."""
    model = str(read_toml(Path(folder) / CONFIG_FILE)["model"])
    own = ["--model", network_copy(folder, model)] if names_code(model) else []
    return shlex.join(["python", "-m", "tinyq.pack", str(folder), str(Path(folder) / PACKED_FILE), *own])


def network_copy(folder: str | Path, model: str) -> str:
    """Name the copy of a user's own network in a run folder: "path/to/net.py:function" is RUN/net.py:function."""
    return str(Path(folder) / Path(model).name)


def trusted_network(folder: str | Path, model: str, trust: bool, recorded: str | None) -> UserFile | None:
    """Read the copy of the user's own network in a run folder; None where `model` comes with tinyq.

    A line on standard error says that it runs. recorded: its SHA-256 when the run began. BadInput unless the copy is
    trusted and is the recorded one.
    """
    if not names_code(model):
        return None
    copy = network_copy(folder, model)
    if not trust:
        raise BadInput(f"{folder}: its network {model} is code, which a run folder must not choose; to run the copy "
                       f"{copy}, read it and add --trust")
    if not os.path.isfile(copy.rpartition(":")[0]):
        raise BadInput(f"{copy}: missing; put this copy of the network back, because --trust runs no other file")
    file = UserFile.read(copy)
    if recorded is None:
        raise BadInput(f"{copy}: no SHA-256 of it is on record, so it cannot be trusted; start a new run")
    if file.sha256 != recorded:
        raise BadInput(f"{copy}: is not the network that the run was made with (its SHA-256 is {file.sha256[:12]}, on "
                       f"record is {str(recorded)[:12]}); put that file back")
    tell_once(f"tinyq: note: --trust runs {file.path}, SHA-256 {file.sha256}, as on record")
    return file


def data_paths_beside(weights: str | Path, name: str) -> dict[str, str]:
    """Arguments of data.load for the paths of a run's data; weights: a weight file or checkpoint of it."""
    folder = Path(weights).resolve().parent
    config = (folder.parent if folder.name == CHECKPOINTS else folder) / CONFIG_FILE
    settings = read_toml(config) if config.is_file() else {}
    keys = {"path": "data_path", **{option: f"{name}.{option}" for option in data.PATH_OPTIONS}}
    return {option: settings[key] for option, key in keys.items() if key in settings}


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))
