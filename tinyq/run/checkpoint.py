"""Checkpoints: everything that a run needs to resume bit for bit, in one file."""
import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tinyq.errors import BadInput
from tinyq.files import hdf5
from tinyq.files.atomic import remove, write_bytes
from tinyq.files.weights import weights_sha256
from tinyq.nn import Module
from tinyq.run.phases import Phase

KEPT = 3                                        # newest checkpoints to keep, besides that of the best epoch
FORMAT = "tinyq checkpoint/4"


@dataclass
class Position:
    """The position of a run, and the settings that identify the run."""

    phase: int = 0
    epoch: int = 0                              # epochs done in this phase
    batch: int = 0                              # batches done in the current epoch
    steps: int = 0                              # steps of the run
    records: int = 0                            # lines of metrics.jsonl
    seconds: float = 0.0                        # of training, resumed parts included
    test_float: dict | None = None              # figures of the float network on the test split
    best_steps: int | None = None               # at the end of the epoch with this phase's best validation figure
    best_figure: float | None = None            # the one that the task names (tasks/task.py)
    made_with: dict = field(default_factory=dict)       # settings and data that the bits depend on
    ledger_head: str | None = None              # of the ledger, when the checkpoint was taken
    skipped: dict = field(default_factory=dict)         # {split: indices of the unreadable images left out so far}
    network: dict = field(default_factory=dict)         # attributes of the network's file, but for what changes


    def to_next_phase(self) -> None:
        """Move to the beginning of the next phase, of which no epoch is the best yet."""
        self.phase, self.epoch, self.batch = self.phase + 1, 0, 0
        self.best_steps = self.best_figure = None


def states_of(model: Module, phase: Phase) -> dict[str, dict]:
    """Collect the states of a running phase that a checkpoint stores."""
    return {"model": model.state_dict(), "optimizer": phase.optimizer.state(),
            "schedule": phase.schedule.state(), "stopping": phase.stopping.state(), "method": phase.method.state()}


def state_sha256(position: Position, states: dict[str, dict]) -> str:
    """SHA-256 over the place in the run and all states: everything that the next step depends on."""
    place = np.array([position.phase, position.epoch, position.batch, position.steps], np.int64)
    return weights_sha256({**_datasets(states), "place": place})


def save(folder: str | Path, position: Position, states: dict[str, dict]) -> Path:
    """Write the states, {"model": {name: array or number}, ...}, atomically; the file is read back before it counts."""
    return write(path_of(folder, position.steps), position, states)


def write(path: str | Path, position: Position, states: dict[str, dict]) -> Path:
    """Write a checkpoint to this path."""
    write_bytes(path, encode(position, states))
    return Path(path)


def encode(position: Position, states: dict[str, dict]) -> bytes:
    """Return the bytes of a checkpoint's file; equal positions and states give equal bytes."""
    text = json.dumps(dataclasses.asdict(position))
    attributes = {"format": FORMAT, "position": text, "sha256": _sha256(text, state_sha256(position, states))}
    return hdf5.encode(_datasets(states), {"/": attributes})


def remove_old(folder: str | Path, position: Position) -> None:
    """Delete all checkpoints except the newest and that of the best epoch."""
    for old in _checkpoints(folder)[:-KEPT]:
        if position.best_steps is None or old != path_of(folder, position.best_steps):
            remove(old)


def load_newest(folder: str | Path) -> tuple[Position, dict[str, dict], list[str]]:
    """Load (position, states, faults of newer files) of the newest undamaged checkpoint."""
    complaints: list[str] = []
    for path in reversed(_checkpoints(folder)):
        try:
            return *load(path), complaints
        except BadInput as error:
            complaints.append(str(error))
    raise BadInput(f"{folder}: no checkpoint to resume from" + "".join(f"; {c}" for c in complaints))


def any_in(folder: str | Path) -> bool:
    """Return True if the folder exists and holds a checkpoint."""
    return bool(_checkpoints(folder))


def load(path: str | Path) -> tuple[Position, dict[str, dict]]:
    """Load (position, states) of one checkpoint; BadInput where it is damaged or something else."""
    with hdf5.Reader(path) as file:
        attributes = file.attributes()
        if attributes.get("format") != FORMAT:
            raise BadInput(f"{path}: not a checkpoint of this version of tinyq")
        datasets = file.read(file.specs(), finite=False)        # a plateau's best metric may start at infinity
    text = str(attributes.get("position"))
    position, states = _position(path, text), _states(datasets)
    if _sha256(text, state_sha256(position, states)) != attributes.get("sha256"):
        raise BadInput(f"{path}: damaged (sha256 differs)")
    return position, states


def load_position(path: str | Path) -> Position:
    """Load the position of one checkpoint without its states, which are not checked."""
    with hdf5.Reader(path) as file:
        return _position(path, str(file.attributes().get("position")))


def _position(path, text):
    try:
        return _checked(Position(**json.loads(text)))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BadInput(f"{path}: its position does not fit this version of tinyq ({error})") from error


def _datasets(states):
    return {f"{owner}/{name}": np.asarray(value) for owner, state in states.items() for name, value in state.items()}


def _states(datasets):
    states: dict[str, dict] = {"model": {}, "optimizer": {}}
    for name, array in datasets.items():
        owner, _, key = name.partition("/")
        states.setdefault(owner, {})[key] = array
    return states


def _checked(position: Position) -> Position:
    """Return the position; ValueError where a value has the wrong type."""
    counts = (position.phase, position.epoch, position.batch, position.steps, position.records)
    measured = (position.seconds, position.best_steps, position.best_figure)
    fits = (all(type(count) is int and 0 <= count < 1 << 48 for count in counts)
            and all(value is None or type(value) in (int, float) for value in measured)
            and position.seconds is not None and (position.test_float is None or type(position.test_float) is dict)
            and type(position.made_with) is type(position.network) is dict
            and all(type(indices) is list and all(type(i) is int and i >= 0 for i in indices)
                    for indices in position.skipped.values()))
    if not fits:
        raise ValueError("a value has the wrong type")
    return position


def _sha256(position, state_sha256):
    """SHA-256 of arrays and position: a wrong best epoch would do as much harm as a wrong weight."""
    return hashlib.sha256(f"{position}\n{state_sha256}".encode()).hexdigest()


def path_of(folder: str | Path, steps: int) -> Path:
    """Path of the checkpoint of a step."""
    return Path(folder) / f"step-{steps:09d}.h5"


def _checkpoints(folder: str | Path) -> list[Path]:
    return sorted(Path(folder).glob("step-*.h5"))
