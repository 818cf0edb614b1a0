"""Read what a run folder says of its run: settings, epochs and result, as far as they are there and whole."""
import json
import math
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tinyq.errors import BadInput, TinyqError
from tinyq.files.journal import read_records
from tinyq.files.lock import is_locked
from tinyq.files.read import read_file
from tinyq.run.settings.toml_file import read_flat
from tinyq.saved.run_folder import CONFIG_FILE, METRICS_FILE, RESULT_FILE

MAX_RESULT = 1 << 20                    # bytes of result.json
MAX_TEXT = 60                           # characters of a setting's value
# Settings that change no bit, and the name of a recipe, whose values stand beside it.
NO_EFFECT = ("recipe", "output", "data_path", "threads", "workers", "print_freq", "checkpoint_minutes", "tensorboard")


@dataclass(frozen=True)
class Run:
    """A run as its folder describes it; its values may be anything that a file can hold.

    settings: as text, by dotted name. epochs: their records. result: result.json, {} without a current one. state:
    finished, running or unfinished. faults: what could not be read.
    """

    name: str
    folder: Path
    settings: dict[str, str]
    epochs: list[dict]
    result: dict
    state: str
    faults: tuple[str, ...] = ()

    @property
    def described(self) -> str:
        """Return the state with the faults."""
        return "; ".join((self.state, *self.faults))


def read_runs(folders: Iterable[str | Path]) -> list[Run]:
    """Read runs, each once; a folder of `--seeds` stands for its runs. BadInput where a folder is none."""
    found = list({os.path.realpath(run): run for folder in folders for run in runs_in(Path(folder))}.values())
    return [_read(folder, name) for folder, name in zip(found, _names(found), strict=True)]


def runs_in(folder: Path) -> list[Path]:
    """Return the folder itself, or the runs seed-N in it; BadInput where there is neither."""
    if any((folder / name).is_file() for name in (CONFIG_FILE, METRICS_FILE, RESULT_FILE)):
        return [folder]
    seeds = [path for path in folder.glob("seed-*") if (path / CONFIG_FILE).is_file()]
    if not seeds:
        reason = f"no {CONFIG_FILE}, {METRICS_FILE} or {RESULT_FILE} here" if folder.is_dir() else "no such folder"
        raise BadInput(f"{folder}: {reason}; give the folders of runs, such as those in runs/")
    return sorted(seeds, key=lambda path: (len(path.name), path.name))


def number_or_none(value: object) -> float | int | None:
    """Return a finite number; None for anything else that a damaged file may hold."""
    return value if isinstance(value, int | float) and type(value) is not bool and _is_finite(value) else None


def _names(folders: list[Path]) -> list[str]:
    """Name each folder by its last part, or by as many parts as tell them apart."""
    parts = [Path(os.path.abspath(folder)).parts for folder in folders]
    for length in range(1, max(map(len, parts), default=1)):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]


def _read(folder: Path, name: str) -> Run:
    faults: list[str] = []
    settings, epochs, result = _settings(folder, faults), _epochs(folder, faults), _result(folder, faults)
    last = number_or_none(epochs[-1].get("step")) if epochs else None
    if result and last is not None and last > (number_or_none(result.get("steps")) or 0):
        result = {}                                         # of an earlier end: the run was continued
    state = "finished" if result else "running" if is_locked(folder) else "unfinished"
    return Run(name, folder, settings, epochs, result, state, tuple(faults))


def _settings(folder: Path, faults: list[str]) -> dict[str, str]:
    try:
        flat = read_flat(folder / CONFIG_FILE)
    except (TinyqError, OSError):
        faults.append(f"no readable {CONFIG_FILE}")
        return {}
    return {key: _text(value) for key, value in flat.items() if key not in NO_EFFECT}


def _epochs(folder: Path, faults: list[str]) -> list[dict]:
    path = folder / METRICS_FILE
    if path.is_file():
        with suppress(TinyqError, OSError):
            return read_records(path, "epoch")
    if path.exists() or path.is_symlink():                  # else it was killed before its first epoch
        faults.append(f"no readable {METRICS_FILE}")
    return []


def _result(folder: Path, faults: list[str]) -> dict:
    path = folder / RESULT_FILE
    if not path.exists():
        return {}
    try:
        result = json.loads(read_file(path, MAX_RESULT))
    except (TinyqError, OSError, ValueError, RecursionError):
        result = None
    if not isinstance(result, dict):
        faults.append(f"no readable {RESULT_FILE}")
        return {}
    return result


def _text(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= MAX_TEXT else f"...{text[-MAX_TEXT:]}"


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:                                   # a whole number that no float holds
        return False
