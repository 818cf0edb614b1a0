"""Read and write model.h5: a network's parameters and buffers under torchvision's names, with scales and levels.

The weight "layer1.0.conv1.weight" is the dataset layer1.0.conv1/weight, the effective value. A constrained weight also
has weight_scale (C_out,) and weight_levels (n,), and weight = scale * level to the bit. The attributes layer_names and
weight_names are those of Keras' weight files, which viewers know.
"""
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tinyq.errors import BadInput
from tinyq.files import hdf5
from tinyq.files.atomic import write_bytes

FORMAT = "tinyq/1"
PROBE = "probe"


@dataclass(frozen=True)
class Weights:
    """The contents of a weight file."""

    state: dict[str, np.ndarray]                                         # every parameter and buffer, effective values
    scales: dict[str, np.ndarray] = field(default_factory=dict)          # (C_out,) of each constrained weight
    levels: dict[str, np.ndarray] = field(default_factory=dict)          # (n,) ascending, likewise
    attributes: dict = field(default_factory=dict)                       # model, data, preprocessing, levels ...
    probe_inputs: np.ndarray | None = None                               # a few inputs of the network
    probe_logits: np.ndarray | None = None                               # and its outputs for them


def weights_sha256(state: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 over all arrays in order of names: name, dtype, shape, little-endian bytes."""
    digest = hashlib.sha256()
    for name in sorted(state):
        array = np.ascontiguousarray(state[name])
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        shape = ",".join(map(str, np.shape(state[name])))
        digest.update(f"{name}\0{little.dtype.str}\0{shape}\0".encode())
        digest.update(little.tobytes())
    return digest.hexdigest()


def write(path: str | Path, weights: Weights) -> None:
    """Save atomically; adds the attributes format and weights_sha256."""
    write_bytes(path, encode(weights))


def encode(weights: Weights) -> bytes:
    """Return the bytes of the file that `write` saves; equal weights give equal bytes."""
    datasets = {_path(name): array for name, array in weights.state.items()}
    for name, scale in weights.scales.items():
        datasets[_path(name) + "_scale"] = scale
        datasets[_path(name) + "_levels"] = weights.levels[name]
    root = {"format": FORMAT, "weights_sha256": weights_sha256(weights.state), **weights.attributes}
    attributes = viewer_attributes(datasets, root)
    if weights.probe_inputs is not None:
        assert weights.probe_logits is not None
        datasets |= {f"{PROBE}/inputs": weights.probe_inputs, f"{PROBE}/logits": weights.probe_logits}
    return hdf5.encode(datasets, attributes)


def read_attributes(path: str | Path) -> dict:
    """Return the file's root attributes, which describe the model."""
    with hdf5.Reader(path) as file:
        return _root_attributes(file)


def read_shapes(path: str | Path) -> dict[str, tuple[int, ...]]:
    """Return {name: shape} of every parameter and buffer of a file."""
    with hdf5.Reader(path) as file:
        return {name: spec.shape for name, spec in _state_specs(file.specs()).items()}


def read(path: str | Path, state: Mapping[str, np.ndarray] | None = None) -> Weights:
    """Read the weights of a model with this state_dict; None: of any model.

    BadInput lists every missing, unknown or misshapen weight, and names a constrained weight that is off its levels.
    """
    with hdf5.Reader(path) as file:
        attributes = _root_attributes(file)
        specs = file.specs()
        state_specs = (_state_specs(specs) if state is None
                       else {name: hdf5.Spec.of(array) for name, array in state.items()})
        expected = {_path(name): spec for name, spec in state_specs.items()}
        constrained = [name for name, spec in state_specs.items() if spec.shape and _path(name) + "_scale" in specs]
        for name in constrained:
            expected[_path(name) + "_scale"] = hdf5.Spec(state_specs[name].shape[:1], np.dtype(np.float32))
            expected[_path(name) + "_levels"] = hdf5.Spec(_levels_shape(specs, _path(name)), np.dtype(np.float32))
        expected |= {path: spec for path, spec in specs.items() if _is_probe(path, spec)}
        arrays = file.read(expected)
    weights = Weights(
        {name: arrays[_path(name)] for name in state_specs},
        {name: arrays[_path(name) + "_scale"] for name in constrained},
        {name: arrays[_path(name) + "_levels"] for name in constrained},
        attributes, arrays.get(f"{PROBE}/inputs"), arrays.get(f"{PROBE}/logits"))
    _check(path, weights)
    return weights


def find_codes(weight: np.ndarray, scale: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return the index of each weight's level, uint8; ValueError unless every weight is scale * level to the bit."""
    scale = scale.reshape((-1,) + (1,) * (weight.ndim - 1))
    codes, found = np.zeros(weight.shape, np.uint8), np.zeros(weight.shape, bool)
    for code, level in enumerate(levels):
        here = weight == scale * level
        codes[here] = code
        found |= here
    if not found.all():
        raise ValueError(f"{np.count_nonzero(~found)} of {weight.size} weights are not scale * level")
    return codes


def _root_attributes(file):
    attributes = file.attributes()
    if attributes.get("format") != FORMAT:
        packed = str(file.path).endswith(".tq.h5")
        raise BadInput(f"{file.path}: not a tinyq weight file (attribute format is not {FORMAT!r})"
                       + ("; a packed network is run with python -m tinyq.infer" if packed else
                          "; the weights of another program are converted first, with python -m tinyq.convert"))
    return attributes


def _check(path, weights):
    if weights.attributes.get("weights_sha256") != weights_sha256(weights.state):
        raise BadInput(f"{path}: damaged; its weights are not those that were saved (weights_sha256 differs)")
    for name, scale in weights.scales.items():
        levels = weights.levels[name]
        if not (scale > 0).all() or not (np.diff(levels) > 0).all():
            raise BadInput(f"{path}: {name}: the scale must be positive and the levels ascending")
        try:
            find_codes(weights.state[name], scale, levels)
        except ValueError as error:
            raise BadInput(f"{path}: {name}: {error}") from None


def _path(name):
    group, _, leaf = name.rpartition(".")
    return f"{group}/{leaf}" if group else leaf


def _state_specs(specs):
    """Return {name: Spec} of the weights and buffers in a file, without scales, levels and probe."""
    beside = {path + suffix for path in specs for suffix in ("_scale", "_levels")}
    return {path.replace("/", "."): spec for path, spec in specs.items()
            if path not in beside and not _is_probe(path, spec)}


def _levels_shape(specs, path):
    """Return the shape of the file's levels if their codes fit into a byte, else one that does not match."""
    shape: tuple[int, ...] = specs[path + "_levels"].shape if path + "_levels" in specs else ()
    return shape if len(shape) == 1 and 2 <= shape[0] <= 256 else (2,)


def _is_probe(path, spec):
    named = path in (f"{PROBE}/inputs", f"{PROBE}/logits")
    return named and spec.dtype == np.float32 and len(spec.shape) >= 2 and spec.shape[0] > 0


def viewer_attributes(paths: Iterable[str], root: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return {group: attributes} with which viewers show these datasets, as in Keras' weight files.

    The root, with `root` and layer_names, comes first; each group's weight_names are names within the group.
    """
    groups: dict[str, list[str]] = {}
    for path in paths:
        group, _, name = path.rpartition("/")
        if group:
            groups.setdefault(group, []).append(name)
    for names in groups.values():
        names.sort(key=_place_in_layer)
    layers = root.get("layer_names", ())                                # read from a file, they keep the model's order
    if sorted(layers) != sorted(groups):
        layers = list(groups)
    return {"/": {**root, "layer_names": layers}, **{group: {"weight_names": names} for group, names in groups.items()}}


def _place_in_layer(name):
    """Order a layer's arrays: weight, then bias and buffers, then scales, then levels."""
    return 2 * name.endswith("_levels") + name.endswith("_scale"), name != "weight", name
