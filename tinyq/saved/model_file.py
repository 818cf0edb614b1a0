"""Write a model as model.h5, and make a model from such a file."""
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from tinyq import models
from tinyq.data import DataBundle
from tinyq.errors import BadInput, Diverged, TinyqError
from tinyq.files import weights as files
from tinyq.files.weights import Weights
from tinyq.inputs.preparation import from_facts
from tinyq.inputs.targets import CLASSES
from tinyq.levels import set_of
from tinyq.methods.straight_through import LevelQuantizer
from tinyq.nn import Module, Quantizer, quantizer_of
from tinyq.own_code import recorded
from tinyq.run.settings.config import Config
from tinyq.saved.attributes import check_attributes, network_of, shape_of, without_preparation
from tinyq.saved.measure import logits_of
from tinyq.tasks.task import CROSS_ENTROPY

PROBES = 4
M = TypeVar("M", bound=Module)


def views(model: Module) -> dict[str, Quantizer]:
    """Return {dotted name: parametrization} of the constrained weights."""
    return {name: quantizer_of(p) for name, p in model.named_parameters() if p.parametrization is not None}


def shown_state(model: Module) -> dict[str, np.ndarray]:
    """Return the model's state_dict with the effective values of constrained weights."""
    state, parameters = model.state_dict(), dict(model.named_parameters())
    return state | {name: view.effective(parameters[name].data) for name, view in views(model).items()}


def check_finite(arrays: dict) -> None:
    """Raise Diverged, with the array's name, for a NaN or an infinity: nothing else checks after the last step."""
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise Diverged(f"{name} is not finite after the last step, so the network is not saved; try a lower --lr")


def weights_of(model: Module, attributes: dict, probe_inputs: np.ndarray) -> Weights:
    """Collect what model.h5 holds. attributes: of describe(...); probe_inputs: a few input samples.

    Diverged where the weights or the logits are not finite.
    """
    scales, levels = scales_and_levels(model)
    state, logits = shown_state(model), logits_of(model, probe_inputs)
    check_finite({**state, "the network's output": logits})
    return Weights(state, scales, levels, {**attributes, "probe_tolerance": 0.0}, probe_inputs, logits)


def scales_and_levels(model: Module) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The scales (C_out,) and the levels (n,) of each constrained weight, by dotted name."""
    parameters, constrained = dict(model.named_parameters()), views(model)
    return ({name: np.full(len(parameters[name].data), view.scale, np.float32) for name, view in constrained.items()},
            {name: view.level_set.values.astype(np.float32) for name, view in constrained.items()})


def describe(config: Config, bundle: DataBundle) -> dict:
    """Collect the attributes from which `load_model` builds the network."""
    return description(config, bundle.input_shape, bundle.class_names, bundle.manifest)


def description(config: Config, input_shape: Sequence[int], class_names: Sequence[str], manifest: dict) -> dict:
    """The attributes of a network made for these inputs and classes; manifest: of the data."""
    return {"model": config.model, "data": config.dataset, "method": config.method,
            **({"levels": config.levels} if config.levels else {}), "constrain": config.constrain,
            **({"keep": config.keep} if config.keep else {}), "seed": config.seed,
            "input_shape": ",".join(map(str, input_shape)), "class_names": list(class_names),
            **preprocessing(manifest), **predicted(manifest), **loss_attributes(config),
            "data_sha256": manifest["sha256"],
            "data_options": json.dumps(without_preparation(config.options[config.dataset]))}


def preprocessing(manifest: dict) -> dict:
    """Return the attribute that says how samples become input, of the manifest of data that say so."""
    preparation = from_facts(manifest)
    return {"preprocessing": json.dumps(preparation.facts())} if preparation else {}


def predicted(manifest: dict) -> dict:
    """Return the attributes that say what the network predicts, where that is no class; manifest: of the data."""
    kind = manifest.get("targets", CLASSES)
    return {} if kind == CLASSES else {"targets": kind, "target_shape": ",".join(map(str, manifest["target_shape"]))}


def loss_attributes(config: Config) -> dict:
    """Return the attributes that say which loss trained the network, where it is not the plain cross-entropy."""
    name = recorded(vars(config)).get("loss", config.loss)
    given = {"loss": None if name == CROSS_ENTROPY else name, "class_weights": config.class_weights,
             "ignore_index": config.ignore_index}
    return {key: value for key, value in given.items() if value is not None}


def load_model(path: str | Path, name: str | None = None) -> tuple[Module, dict]:
    """Load (model, attributes) from a model.h5 or float.h5; the model is in evaluation mode.

    name: overrides the model named in the file; a user's own "path/to/file.py:function" must be given here.
    BadInput if the file does not fit the model, or the stored inputs do not give the stored logits.
    """
    attributes = files.read_attributes(path)
    check_attributes(path, attributes)
    name, classes = name or network_of(path, attributes), len(attributes["class_names"])
    try:
        model = models.build(name, classes, shape_of(attributes), attributes["constrain"],
                             attributes.get("keep", ""))
    except (TinyqError, ValueError, MemoryError) as error:
        raise BadInput(f"{path}: {error}") from error
    held = files.read(path, model.state_dict())
    model.load_state_dict(held.state, source=str(path))
    parameters = dict(model.named_parameters())
    everything = set(held.levels) == set(parameters)            # CoNNTrA constrains biases too
    constrainable = {name for name, p in parameters.items() if p.constrained or everything}
    for name, levels in held.levels.items():
        if name not in constrainable or "levels" not in attributes:
            raise BadInput(f"{path}: {name} has levels, but is not constrained in this network")
        parameters[name].parametrization = LevelQuantizer(set_of(levels.tolist()), _compact(held.scales[name]))
    model.eval()
    check_probe(path, model, held)
    return model, attributes


def save_module(model: Module, path: str | Path) -> None:
    """Save a network's parameters and buffers, constrained weights with their scale and levels; nothing about data."""
    check_finite(shown_state(model))
    files.write(path, Weights(shown_state(model), *scales_and_levels(model)))


def load_module(model: M, path: str | Path) -> M:
    """Load the weights of a file into a network in place, those with levels constrained to them; return the network.

    BadInput where the file does not fit the network.
    """
    held = files.read(path, model.state_dict())
    model.load_state_dict(held.state, source=str(path))
    for name, parameter in model.named_parameters():
        levels = held.levels.get(name)
        parameter.parametrization = None if levels is None else LevelQuantizer(
            set_of(levels.tolist()), _compact(held.scales[name]))
    return model


def load_weights(path: str | Path, model: Module) -> tuple[bool, list[str]]:
    """Start a model from the weights in a file.

    If the file has another number of classes, the layer of the outputs keeps its values.
    Returns (True if the file has weights on levels, which become float; names of the parameters not loaded).
    """
    own, shapes = model.state_dict(), files.read_shapes(path)
    kept = outputs_of_other_classes(own, shapes, files.read_attributes(path).get("class_names"))
    held = files.read(path, {**own, **{name: np.zeros(shapes[name], own[name].dtype) for name in kept}})
    model.load_state_dict({**held.state, **{name: own[name] for name in kept}}, source=str(path))
    return bool(held.levels), kept


def outputs_of_other_classes(own: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]],
                             classes: object) -> list[str]:
    """Return the names of the weights that differ from a file's in the number of classes alone, wherever they stand.

    own: the model's state_dict; shapes: by name, in the file; classes: names of the file's, [] for anything but a list.
    """
    count = len(classes) if isinstance(classes, list) else 0
    other = {name: array for name, array in own.items() if shapes.get(name, array.shape) != array.shape}
    found = [name for name, array in other.items() if array.ndim and shapes[name] == (count, *array.shape[1:])]
    return found if len({len(own[name]) for name in found}) == 1 else []        # else not the outputs alone


def check_probe(path: str | Path, model: Module, held: Weights) -> None:
    """Raise BadInput unless the stored inputs give the stored logits, to the bit for files that tinyq wrote."""
    if held.probe_inputs is None and held.probe_logits is None:
        return
    if (held.probe_inputs is None or held.probe_logits is None
            or np.shape(held.probe_inputs)[1:] != shape_of(held.attributes)):
        raise BadInput(f"{path}: its probe must hold inputs of shape {shape_of(held.attributes)} and their logits")
    logits = logits_of(model, held.probe_inputs)
    allowed = held.attributes.get("probe_tolerance", 0.0) * float(np.abs(held.probe_logits).max())
    if logits.shape != held.probe_logits.shape or not (np.abs(logits - held.probe_logits) <= allowed).all():
        raise BadInput(f"{path}: the network does not compute the logits stored in the file; "
                       "the file belongs to another network, or to another version of this one")


def probe_inputs(bundle: DataBundle) -> np.ndarray:
    """Take the first samples of the test split, or of the training split without one."""
    split = bundle.train if bundle.test is None else bundle.test
    assert split is not None
    x, _ = split.batch(np.arange(min(PROBES, len(split))))
    return np.ascontiguousarray(x, np.float32)


def _compact(scale):
    """Reduce equal scales to one."""
    return scale[0] if (scale == scale[0]).all() else scale
