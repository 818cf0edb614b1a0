"""What lies in a run folder, found again from anywhere."""
import dataclasses
import os
from pathlib import Path

from tinyq.errors import BadInput
from tinyq.run.resolve import Resolved, read_toml

CONFIG_FILE, METRICS_FILE, RESULT_FILE = "config.toml", "metrics.jsonl", "result.json"
FLOAT_FILE, MODEL_FILE = "float.h5", "model.h5"


def anchored(resolved: Resolved) -> Resolved:
    """The same with absolute paths, so that the run is understood from any working directory."""
    config = resolved.config
    names = ["data_path", "weights", *(["model"] if ".py" in config.model else [])]
    paths = {name: _absolute(getattr(config, name)) for name in names if getattr(config, name)}
    return dataclasses.replace(resolved, config=dataclasses.replace(config, **paths))


def weights_file(path) -> Path:
    """The path itself, or the network in it where it is a run folder; BadInput where that has none."""
    path = Path(path)
    if not path.is_dir():
        return path
    if (path / MODEL_FILE).is_file():
        return path / MODEL_FILE
    if (path / CONFIG_FILE).is_file():
        raise BadInput(f"{path}: this run is not finished; go on with: python -m tinyq.train --resume {path}")
    raise BadInput(f"{path}: neither a run (no {CONFIG_FILE}) nor a weight file")


def data_path_beside(weights) -> str | None:
    """Where the data of the run lie whose folder holds this weight file; None where it is in none, or says nothing."""
    config = Path(weights).parent / CONFIG_FILE
    return read_toml(config).get("data_path") if config.is_file() else None


def _absolute(path):
    return os.path.abspath(os.path.expanduser(path))
