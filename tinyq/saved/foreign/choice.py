"""Choose the weights of a network in another program's file, under the network's own names."""
import re
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from tinyq.errors import BadInput, UsageError, did_you_mean
from tinyq.files.foreign import kinds, opening
from tinyq.files.foreign.opening import Arrays, Foreign
from tinyq.saved.foreign import names as weight_names

SHOWN = 4                               # names in a message
_AVERAGE = re.compile(r"(^|[._-])(ema|swa|avg|averaged?|shadow)([._-]|$)", re.IGNORECASE)


def open_foreign(source: str | Path) -> Foreign:
    """Open another program's file; BadInput where it holds no weights, UsageError for tinyq's own and for a folder."""
    if Path(source).is_dir():
        raise UsageError(f"{source}: is a folder; name a file of weights, such as model.safetensors in it (a run of "
                         "tinyq is converted only to .safetensors)")
    file = opening.open_weights(source)
    if file.kind == opening.TINYQ:
        raise UsageError(f"{source}: is tinyq's own format already; convert writes it only as .safetensors")
    return file


def refuse_foreign(path: str | Path) -> None:
    """Raise BadInput, with the command that converts it, for a file of PyTorch or safetensors, or one of no weights."""
    kind = kinds.kind_of(path)
    if kind == kinds.ONNX:
        raise BadInput(f"{path}: a network of {kind}, not of tinyq; convert it first: {opening.onnx_command(path)}")
    if kind != kinds.HDF5:
        command = shlex.join(["python", "-m", "tinyq.convert", str(path), str(Path(path).with_suffix(".h5"))])
        raise BadInput(f"{path}: weights of {kind}, not of tinyq; convert them first: {command} --model NAME")


def weights_for(file: Foreign, own: Mapping[str, np.ndarray], key: str | None, channels: int
                ) -> tuple[Arrays, list[str]]:
    """Return ({name in the network: array}, remarks) of a file's weights for the network with the state_dict `own`.

    key: of the set to take where a file holds several; by default the one that has the network's names, and the plain
    weights before their averages. channels: of the input. Names that the network lacks are kept as they are.
    BadInput for the weights of another network; UsageError where several sets fit, or for an unknown key.
    """
    renamings = {each: weight_names.renaming(names, own) for each, names in file.names.items()}
    key, others = _chosen(file, key, [each for each in file.keys if weight_names.fits(renamings[each], own)])
    renamed = renamings[key]
    count = weight_names.covered(renamed, own)
    if 2 * count < len(own):
        raise BadInput(f"{file.path}: has {count} of the network's {len(own)} names ({_some(own)}); its own are "
                       f"{_some(file.names[key])}; name the model that it belongs to")
    state = {renamed[name]: array for name, array in file.read(key).items() if not _is_counter(name, array, own)}
    remarks = [f"the weights under {key!r}, not {others}"] if others else []
    if weight_names.is_keras(file.names[key]):
        state = weight_names.from_keras(state, own, str(file.path), channels)
        remarks.append("of Keras, whose padding and epsilon are not in the file: compare both networks with evaluate")
    return state, remarks


def _chosen(file: Foreign, key: str | None, fitting: list[str]) -> tuple[str, str]:
    """Return (key of the set to take, the others in words)."""
    keys = file.keys
    if key is not None:
        if key not in keys:
            choice = did_you_mean(key, keys) if keys != [""] else "the file is one set of weights: leave it out"
            raise UsageError(f"key {key!r}: no weights under it in {file.path}; {choice}")
        return key, _listed([each for each in keys if each != key])
    fitting = fitting or keys
    plain = [each for each in fitting if not _AVERAGE.search(each)] or fitting
    if len(plain) > 1:
        raise UsageError(f"key: {file.path} holds several sets of weights; choose from: {', '.join(plain)}")
    return plain[0], _listed([each for each in keys if each != plain[0]])


def _some(names: Collection[str]) -> str:
    return ", ".join(list(names)[:SHOWN]) + (" ..." if len(names) > SHOWN else "")


def _listed(keys: list[str]) -> str:
    return ", ".join(map(repr, keys))


def _is_counter(name: str, array: np.ndarray, own: Mapping[str, np.ndarray]) -> bool:
    """Return whether an array counts the steps of a wrapper (n_averaged), which no network has."""
    return "." not in name and name not in own and array.size == 1
