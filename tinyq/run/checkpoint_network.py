"""The network of a checkpoint, finished as if the run had ended there: for every command that takes a weight file."""
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinyq import data, models
from tinyq.data import Dataset
from tinyq.errors import BadInput, TinyqError, UnknownName, UsageError
from tinyq.files import hdf5
from tinyq.files import weights as weight_files
from tinyq.files.weights import weights_sha256
from tinyq.inputs.preparation import numbers
from tinyq.methods.base import GradientMethod, Method
from tinyq.nn import Module
from tinyq.own_code import UserFunction, code_in, names_code
from tinyq.own_code.code_names import PLUGIN
from tinyq.run import checkpoint
from tinyq.run.checkpoint import Position
from tinyq.run.phases import BACKPROP, phases_of
from tinyq.run.settings.config import Config
from tinyq.run.settings.resolve import resolve
from tinyq.saved.attributes import check_attributes, data_of, network_of, shape_of
from tinyq.saved.model_file import load_model, load_weights, outputs_of_other_classes, shown_state, views
from tinyq.saved.run_folder import data_paths_beside
from tinyq.streams import Streams
from tinyq.tasks.loss import CROSS_ENTROPY, Loss
from tinyq.tasks.loss_choice import loss_of_file

NOT_SETTINGS = ("data_sha256", "code", PLUGIN)         # of Position.made_with; plug-ins are active or not


def load_network(path: str | Path, name: str | None = None) -> tuple[Module, dict]:
    """Load (model, attributes) from a model.h5, a float.h5 or a checkpoint; arguments and errors are load_model's."""
    return network_of_checkpoint(path, name) if is_checkpoint(path) else load_model(path, name)


def is_checkpoint(path: str | Path) -> bool:
    """Return True for a checkpoint, by its content; False where the file is another or cannot be read."""
    try:
        with hdf5.Reader(path) as file:
            return file.attributes().get("format") == checkpoint.FORMAT
    except (TinyqError, OSError):
        return False


def is_unpacked(path: str | Path) -> bool:
    """Return True for a file that load_network takes, by its content."""
    try:
        with hdf5.Reader(path) as file:
            return file.attributes().get("format") in (checkpoint.FORMAT, weight_files.FORMAT)
    except (TinyqError, OSError):
        return False


def attributes_of(path: str | Path) -> dict:
    """Return the attributes of a weight file, or of the network in a checkpoint."""
    return checkpoint.load(path)[0].network if is_checkpoint(path) else weight_files.read_attributes(path)


def network_of_checkpoint(path: str | Path, network: str | UserFunction | None = None) -> tuple[Module, dict]:
    """Load (model, attributes) from a checkpoint: weights on their levels once the method has begun, else float.

    network: as for load_model; the user's own one must be given. BadInput where the checkpoint does not fit it.
    """
    position, states = checkpoint.load(path)
    attributes = dict(position.network)
    check_attributes(path, attributes)
    try:
        config = _config_of(position)
        model = models.build(network or network_of(path, attributes), len(attributes["class_names"]),
                             shape_of(attributes), attributes["constrain"], attributes.get("keep", ""))
        outputs = len(attributes["class_names"])
        begun(config, model, position, states, lambda: _training_data(path, config, attributes), str(path),
              lambda split: loss_of_file(attributes, outputs, {"train": split.labels})[0]).finish()
    except UnknownName as error:
        raise BadInput(f"{path}: {error}; if a plug-in adds it, name that with --plugin FILE.py") from error
    except (UsageError, ValueError, KeyError, MemoryError) as error:
        raise BadInput(f"{path}: {error}") from error
    model.eval()
    if not views(model):
        attributes |= {"method": BACKPROP}
        attributes.pop("levels", None)
    return model, {**attributes, "weights_sha256": weights_sha256(shown_state(model))}


def load_start(path: str | Path, model: Module, network: str | UserFunction) -> tuple[bool, list[str]]:
    """Start a model from a weight file or a checkpoint; network: the model's. The result is load_weights'."""
    if not is_checkpoint(path):
        return load_weights(path, model)
    found, attributes = network_of_checkpoint(path, network)
    state, own = shown_state(found), model.state_dict()
    shapes = {name: array.shape for name, array in state.items()}
    kept = outputs_of_other_classes(own, shapes, attributes["class_names"])
    model.load_state_dict({**state, **{name: own[name] for name in kept}}, source=str(path))
    return bool(views(found)), kept


def begun(config: Config, model: Module, position: Position, states: dict[str, dict],
          training_data: Callable[[], Any], source: str = "the checkpoint",
          loss: Callable[[Any], Loss] = lambda data: CROSS_ENTROPY) -> Method:
    """Load the states of a checkpoint into the model and begin the method of its phase from them; return the method.

    training_data: called for a method that may read the data when it begins, and loss with the result: the others
    need a loss for their steps alone. source: named in errors.
    """
    model.load_state_dict(states["model"], source=source)
    phase, needed = phases_of(config, model)[position.phase], None
    if not isinstance(phase.method, GradientMethod):
        needed = training_data()
        phase = phases_of(config, model, loss(needed))[position.phase]
    phase.optimizer.load_state(states["optimizer"])
    method: Any = phase.method
    method.begin(model, phase.optimizer, needed, Streams(config.seed), state=states.get("method", {}))
    return method


def _config_of(position: Position) -> Config:
    """Return the configuration that a checkpoint was made with, as far as bits depend on it."""
    given = {key: value for key, value in position.made_with.items() if value is not None and key not in NOT_SETTINGS}
    code = {key: given.pop(key) for key in (*code_in(given), "model") if key in given}     # is named here, not run
    return resolve({**code, "recipe": "none"}, given).config


def _training_data(path: str | Path, config: Config, attributes: dict) -> Dataset:
    """Load the training split that a method reads when it begins, from where the run had it."""
    if names_code(config.data):
        raise BadInput(f"{path}: its method reads the training data, which code of the user's own returns; name a "
                       "model.h5 of the run instead")
    name = data_of(path, attributes)
    bundle = data.load(name, mean=numbers("mean", config.mean), std=numbers("std", config.std),
                       **config.options[name] | data_paths_beside(path, name))
    if bundle.train is None or bundle.manifest["sha256"] != attributes["data_sha256"]:
        raise BadInput(f"{path}: its network is made from the run's training data, but the data here are others")
    return bundle.train
