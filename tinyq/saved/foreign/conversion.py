"""Convert weight files of other programs to and from model.h5."""
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinyq import models
from tinyq.errors import BadInput, Diverged, UsageError
from tinyq.files import safetensors
from tinyq.files import weights as files
from tinyq.files.foreign.opening import Arrays
from tinyq.files.read import sha256_of
from tinyq.nn import Conv2d, Linear, Module
from tinyq.saved.attributes import shape_of
from tinyq.saved.foreign.choice import open_foreign, weights_for
from tinyq.saved.foreign.converted_inputs import Inputs, described
from tinyq.saved.foreign.names import COUNTER
from tinyq.saved.model_file import load_model, shown_state, weights_of
from tinyq.streams import Streams

SAFETENSORS, TINYQ = (".safetensors",), (".h5", ".hdf5")
PROBES = 2


def to_tinyq(source: str | Path, target: str | Path, name: str, class_names: list[str] | None = None,
             inputs: Inputs | None = None, key: str | None = None) -> str:
    """Write the weights in `source` as the model.h5 of network `name`; returns a line that describes the file.

    class_names: one per output of the file's last layer; None: the data's, or numbers. inputs: what is known of the
    network's inputs. key: of the weights to take in a file that holds several. UsageError where the inputs do not fit
    the network. BadInput, with every missing, extra, misshapen or mistyped name, and for values that are not finite.
    """
    file, inputs = open_foreign(source), inputs or Inputs()
    input_shape = inputs.input_shape()
    smallest = _smallest(name, inputs)
    state, remarks = weights_for(file, smallest.state_dict(), key, input_shape[0])
    classes = _classes_in(state, smallest, name, source)
    if class_names is not None and len(class_names) != classes:
        raise UsageError(f"classes: has {len(class_names)} names, but {source} has {classes} classes")
    model = models.build(name, classes, input_shape)
    known, left_out = _fitted(state, model, models.OPTIONAL_PREFIXES.get(name, ()))
    of_inputs = inputs.attributes(classes) | ({"class_names": class_names} if class_names else {})
    return save_converted(source, target, name, model, known, of_inputs,
                          [*([f"left out: {', '.join(left_out)}"] if left_out else []), *remarks])


def save_converted(source: str | Path, target: str | Path, name: str, model: Module, state: Arrays, of_inputs: dict,
                   remarks: Sequence[str] = ()) -> str:
    """Write a network with the weights `state` as model.h5; returns a line that describes the file.

    of_inputs: attributes of Inputs.attributes. BadInput where the weights do not fit, or values are not finite.
    """
    model.load_state_dict(state, source=str(source))
    _check_finite(state, source)
    attributes = {"model": name, "method": "backprop", "constrain": "inner", **of_inputs, "source": Path(source).name,
                  "source_sha256": sha256_of(source)}
    classes, input_shape = len(of_inputs["class_names"]), shape_of(attributes)
    probes = Streams(0).key("probe").normal((PROBES, *input_shape)).astype(np.float32)
    files.write(target, _weights(model.eval(), attributes, probes, source))
    count = sum(p.size for p in model.parameters())
    return "; ".join([f"{target}: {name}, {classes} classes, {count:,} parameters", *remarks, described(attributes)])


def _smallest(name: str, inputs: Inputs) -> Module:
    """Make the network with two classes; UsageError where it does not take the inputs."""
    try:
        return models.build(name, 2, inputs.input_shape())
    except UsageError as error:
        if inputs.data or inputs.shape:
            raise
        raise UsageError(f"{error}, as nothing else is known: name the data with --data, or the shape with "
                         "--input-shape") from error


def to_safetensors(source: str | Path, target: str | Path, name: str | None = None) -> str:
    """Write the weights of a model.h5, constrained ones as the network computes with them; returns a line."""
    model, attributes = load_model(source, name)
    state = shown_state(model)
    safetensors.write(target, state)
    return f"{target}: {attributes['model']}, {len(state)} arrays, as the network computes with them"


def _classes_in(state: Arrays, model: Module, name: str, source: str | Path) -> int:
    """Number of outputs of the file's last layer, found by the name of this network's last layer."""
    layers = [f"{prefix}.weight" for prefix, layer in model.named_modules() if isinstance(layer, Linear)] or [
        f"{prefix}.weight" for prefix, layer in model.named_modules() if isinstance(layer, Conv2d)]
    if not layers or layers[-1] not in state or not state[layers[-1]].ndim:
        raise BadInput(f"{source}: it has no {''.join(layers[-1:])}, the last layer of {name}; name the model that it "
                       "belongs to")
    return len(state[layers[-1]])


def _fitted(state: Arrays, model: Module, optional: tuple[str, ...]) -> tuple[Arrays, list[str]]:
    """Return (arrays for the model, names left out): counters may be missing, optional heads may be present."""
    own = model.state_dict()
    known = {name: array for name, array in state.items() if not name.startswith(optional)}
    counters = {name: array for name, array in own.items() if name.endswith(COUNTER) and name not in known}
    return known | counters, [name for name in state if name not in known]


def _weights(model: Module, attributes: dict, probes: np.ndarray, source: str | Path) -> files.Weights:
    try:
        return weights_of(model, attributes, probes)
    except Diverged:
        raise BadInput(f"{source}: the network's outputs for random inputs are not finite; the file is damaged, or its "
                       "training diverged") from None


def _check_finite(state: Arrays, source: str | Path) -> None:
    bad = [name for name, array in state.items() if not np.isfinite(array).all()]
    if bad:
        raise BadInput(f"{source}: not finite: {', '.join(bad)}; the file is damaged, or its training diverged")
