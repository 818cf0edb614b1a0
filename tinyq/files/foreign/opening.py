"""Read the weights in a file of another program, whatever its suffix: PyTorch, safetensors, HDF5."""
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyq.errors import BadInput
from tinyq.files import hdf5, safetensors
from tinyq.files.foreign import kinds, torch_weights
from tinyq.files.foreign.weight_sets import weight_sets

Arrays = dict[str, np.ndarray]
TINYQ = "tinyq"                         # kind of a file that needs no conversion


@dataclass(frozen=True)
class Foreign:
    """A file of weights: its kind, and the names in each of its sets of weights, by key."""

    path: str | Path
    kind: str
    names: Mapping[str, list[str]]
    read: Callable[[str], Arrays]       # the arrays of a key's set, by name

    @property
    def keys(self) -> list[str]:
        """The keys of its sets; "" for a file that is one set itself."""
        return list(self.names)


def open_weights(path: str | Path) -> Foreign:
    """Recognise a file and list its weights; BadInput, in one line, where it holds none that tinyq reads.

    Floats come as float32, integers as int64.
    """
    kind = kinds.kind_of(path)
    if kind == kinds.ONNX:
        raise BadInput(f"{path}: is a network in a protocol buffer, such as ONNX; convert it to a file of weights "
                       f"first: {onnx_command(path)}")
    return _OPENERS[kind](path)


def onnx_command(path: str | Path) -> str:
    """Return the command that converts an ONNX file."""
    return shlex.join(["python", "-m", "tinyq.convert", str(path), str(Path(path).with_suffix(".h5"))])


def _torch(path):
    saved = torch_weights.load(path)

    def reported(work, *arguments):
        try:
            return work(*arguments)
        except Exception as error:              # zipfile raises anything on hostile bytes
            raise BadInput(f"{path}: not readable as PyTorch weights: {error}") from error

    sets = reported(weight_sets, saved.content)
    return Foreign(path, kinds.TORCH, {key: list(found) for key, found in sets.items()},
                   lambda key: reported(saved.arrays, sets[key]))


def _safetensors(path):
    arrays = safetensors.read(path)
    return Foreign(path, kinds.SAFETENSORS, {"": list(arrays)}, lambda key: arrays)


def _hdf5(path):
    file = hdf5.Reader(path, foreign=True)
    if "weights_sha256" in file.attributes():
        return Foreign(path, TINYQ, {"": []}, lambda key: {})
    specs = {name: spec for name, spec in file.specs().items() if spec.dtype.kind in "biuf"}
    sets: dict[str, dict[str, str]] = {}
    for name in specs:
        key = next((group for group in _KERAS_GROUPS if name.startswith(f"{group}/")), "")
        sets.setdefault(key, {})[name.removeprefix(f"{key}/").replace("/", ".")] = name
    sets.pop(_KERAS_GROUPS[1], None)
    if not any(sets.values()):
        raise BadInput(f"{path}: holds no datasets of numbers")

    def read(key):
        held = file.read({name: specs[name] for name in sets[key].values()}, allow_extra=True, finite=False)
        return {name: _usual(held[path]) for name, path in sets[key].items()}

    return Foreign(path, kinds.HDF5, {key: list(found) for key, found in sets.items()}, read)


_KERAS_GROUPS = "model_weights", "optimizer_weights"       # of a whole model that Keras 2 saved
_OPENERS: dict[str, Callable[[str | Path], Foreign]] = {
    kinds.TORCH: _torch, kinds.SAFETENSORS: _safetensors, kinds.HDF5: _hdf5}


def _usual(array):
    with np.errstate(over="ignore"):                        # large float64: infinity, which callers reject
        return array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
