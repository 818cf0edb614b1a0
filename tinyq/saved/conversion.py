"""Weight files of other programs, to and from model.h5."""
import json
from pathlib import Path

import numpy as np

from tinyq import models
from tinyq.errors import BadInput, UsageError
from tinyq.files import hdf5, safetensors, torch_weights
from tinyq.files import weights as files
from tinyq.files.read import sha256_of
from tinyq.nn import Linear
from tinyq.saved.model_file import load_model, shown_state, weights_of
from tinyq.streams import Streams

TORCH, SAFETENSORS, TINYQ = (".pth", ".pt", ".bin"), (".safetensors",), (".h5", ".hdf5")
COUNTER = "num_batches_tracked"         # old files lack it, and nothing depends on it
PROBES = 2
IMAGENET = 1000, (3, 224, 224)          # classes and input of a network that is taken to be ImageNet's

# What torchvision's weights expect: the central square of the resized image, in ImageNet's mean and deviation.
PREPROCESSING = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "resize": 256, "size": 224}


def to_tinyq(source, target, name, class_names=None, input_shape=(3, 224, 224)) -> str:
    """Write the weights in `source` as the model.h5 of network `name`; returns a line that says what was written.

    class_names: as many as the file's last layer has outputs, or None for numbers. Raises BadInput with every missing,
    extra, misshapen or mistyped name, and for values that are not finite.
    """
    state = _read(source)
    classes = _classes_in(state, name, input_shape, source)
    if class_names is not None and len(class_names) != classes:
        raise UsageError(f"--classes names {len(class_names)} classes, and {source} has {classes}")
    model = models.build(name, classes, input_shape)
    known, left_out = _fitted(state, model, models.OPTIONAL_PREFIXES.get(name, ()))
    model.load_state_dict(known, source=str(source))
    _require_finite(known, source)
    usual = (classes, input_shape) == IMAGENET
    data, options = ("imagenet", {}) if usual else ("imagefolder", {"size": input_shape[1]})
    attributes = {
        "model": name, "data": data, "method": "backprop", "constrain": "inner",
        "input_shape": ",".join(map(str, input_shape)), "class_names": class_names or list(map(str, range(classes))),
        "preprocessing": json.dumps(PREPROCESSING), "data_options": json.dumps(options),
        "source": Path(source).name, "source_sha256": sha256_of(source)}
    probes = Streams(0).key("probe").normal((PROBES, *input_shape)).astype(np.float32)
    files.write(target, weights_of(model.eval(), attributes, probes))
    count = sum(p.size for p in model.parameters())
    return f"{target}: {name}, {classes} classes, {count:,} parameters" + (
        f"; left out: {', '.join(left_out)}" if left_out else "")


def to_safetensors(source, target, name=None) -> str:
    """Write a model.h5's weights, constrained ones as the values that the network computes with; returns a line."""
    model, attributes = load_model(source, name)
    state = shown_state(model)
    safetensors.write(target, state)
    return f"{target}: {attributes['model']}, {len(state)} arrays, as the network computes with them"


def _read_hdf5(source):
    """The arrays of another program's HDF5 file: groups or dots, "layer1/0/conv1/weight" is layer1.0.conv1.weight."""
    with hdf5.Reader(source) as file:
        if "weights_sha256" in file.attributes():
            raise UsageError(f"{source}: is tinyq's own already; convert takes it to .safetensors")
        arrays = file.read(file.specs(), finite=False)
    return {path.replace("/", "."): array for path, array in arrays.items()}


READERS = {**dict.fromkeys(TORCH, torch_weights.read), **dict.fromkeys(SAFETENSORS, safetensors.read),
           **dict.fromkeys(TINYQ, _read_hdf5)}


def _read(source):
    reader = READERS.get(Path(source).suffix.lower())
    if reader is None:
        raise UsageError(f"{source}: convert reads {', '.join(READERS)}")
    return reader(source)


def _classes_in(state, name, input_shape, source):
    """How many outputs the file's last layer has, which is called what this network's is called."""
    model = models.build(name, 2, input_shape)
    last = [f"{prefix}.weight" for prefix, layer in model.named_modules() if isinstance(layer, Linear)][-1]
    if last not in state or state[last].ndim != 2:
        raise BadInput(f"{source}: it has no {last}, the last layer of {name}; name the --model it is of")
    return len(state[last])


def _fitted(state, model, optional):
    """(the arrays the model is given, names that were left out): counters may be missing, known heads may be there."""
    own = model.state_dict()
    known = {name: array for name, array in state.items() if not name.startswith(optional)}
    counters = {name: array for name, array in own.items() if name.endswith(COUNTER) and name not in known}
    return known | counters, [name for name in state if name not in known]


def _require_finite(state, source):
    bad = [name for name, array in state.items() if not np.isfinite(array).all()]
    if bad:
        raise BadInput(f"{source}: not finite: {', '.join(bad)}; such a network computes nothing")
