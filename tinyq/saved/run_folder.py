"""The files of a run folder and the paths in its settings."""
import dataclasses
import os
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tinyq import data
from tinyq.errors import BadInput
from tinyq.own_code import SETTINGS, code_in
from tinyq.own_code.code_names import absolute, copies_in
from tinyq.run.settings.resolve import Resolved
from tinyq.run.settings.toml_file import read_flat
from tinyq.saved.foreign.choice import refuse_foreign

CONFIG_FILE, METRICS_FILE, RESULT_FILE = "config.toml", "metrics.jsonl", "result.json"
CHECKPOINTS = "checkpoints"
BEST_FILE = "best.h5"
FLOAT_FILE, MODEL_FILE, PACKED_FILE = "float.h5", "model.h5", "model.tq.h5"


def anchored(resolved: Resolved) -> Resolved:
    """Make the paths absolute, so that the run can be resumed from any working directory."""
    config = resolved.config
    paths: dict[str, Any] = {name: _absolute(value) for name in ("data_path", "weights")
                             if (value := getattr(config, name))}
    paths |= absolute(code_in(vars(config)), _absolute)
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
    raise no_run(path, f"neither a run (no {CONFIG_FILE}) nor a weight file")


def no_run(folder: str | Path, reason: str) -> BadInput:
    """Return the error for a folder that is no run: a run in it, as `--seeds` leaves them, or the reason."""
    first = min((file.parent for file in Path(folder).glob(f"*/{CONFIG_FILE}")), default=None)
    return BadInput(f"{folder}: {reason if first is None else f'a folder of runs; name one of them, such as {first}'}")


def resume_command(folder: str | Path) -> str:
    """Return the command that resumes a run; with --trust where the folder keeps a copy of the user's own network."""
    trust = " --trust" if any(Path(folder).glob("*.py")) else ""
    return f"python -m tinyq.train --resume {shlex.quote(str(folder))}{trust}"


def pack_command(folder: str | Path) -> str:
    """Return the command that packs a finished run beside its model.h5."""
    own = code_flags(folder, code_in(read_flat(Path(folder) / CONFIG_FILE)), ("model", "plugin"))
    return shlex.join(["python", "-m", "tinyq.pack", str(folder), str(Path(folder) / PACKED_FILE), *own])


def code_flags(folder: str | Path, code: Mapping[str, str], settings: Iterable[str] = SETTINGS) -> list[str]:
    """Return the flags that name the copies of the user's own code in a run folder, as evaluate and pack take them.

    code: settings that name code, with the paths they had; settings: those of them that the command takes.
    """
    copies = copies_in(folder, code)
    return [word for key in settings if key in copies for word in (f"--{key}", copies[key])]


def data_paths_beside(weights: str | Path, name: str) -> dict[str, str]:
    """Arguments of data.load for the paths of a run's data; weights: a weight file or checkpoint of it."""
    folder = Path(weights).resolve().parent
    config = (folder.parent if folder.name == CHECKPOINTS else folder) / CONFIG_FILE
    settings = read_flat(config) if config.is_file() else {}
    keys = {"path": "data_path", **{option: f"{name}.{option}" for option in data.PATH_OPTIONS}}
    return {option: text for option, key in keys.items() if isinstance(text := settings.get(key), str)}


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))
