"""Check the attributes of a weight file before they are used; a file never chooses which code runs."""
import json
import math
import re
from pathlib import Path

from tinyq.errors import BadInput, UsageError
from tinyq.inputs.preparation import Preparation, parse
from tinyq.inputs.targets import CLASSES, KINDS

TEXTS = ("model", "data", "method", "constrain")       # data is empty where it is not known


def check_attributes(path: str | Path, attributes: dict) -> None:
    """Raise BadInput, listing every fault, unless each attribute that tinyq reads is present and valid."""
    check_without_data(path, attributes)
    if attributes["data"]:
        _refuse(path, _data_faults(attributes))


def check_without_data(path: str | Path, attributes: dict) -> None:
    """Raise BadInput as check_attributes does, but pass over the options of the data, which run no network."""
    faults = [f"{name} is no text" for name in TEXTS if not isinstance(attributes.get(name), str)]
    faults += [f"{name} is no text" for name in ("levels", "keep") if not isinstance(attributes.get(name, ""), str)]
    names, tolerance = attributes.get("class_names"), attributes.get("probe_tolerance", 0.0)
    if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
        faults.append("class_names is no list of texts")
    if not _is_shape(attributes.get("input_shape")):
        faults.append("input_shape is no shape such as 1,28,28")
    faults += target_faults(attributes) + _loss_faults(attributes)
    if not (isinstance(tolerance, int | float) and 0 <= tolerance < math.inf):
        faults.append("probe_tolerance is no number from 0 up")
    _refuse(path, faults)


def _refuse(path: str | Path, faults: list[str]) -> None:
    if faults:
        raise BadInput(f"{path}: its attributes do not say which model this is: {'; '.join(faults)}")


def shape_of(attributes: dict) -> tuple[int, ...]:
    """Return the shape of one input."""
    return tuple(map(int, attributes["input_shape"].split(",")))


def network_of(path: str | Path, attributes: dict) -> str:
    """Name of the file's network; BadInput unless it comes with tinyq: a file must not choose which code runs."""
    from tinyq import models
    from tinyq.own_code import names_code

    name = attributes["model"]
    if names_code(name) or name.partition(":")[0] not in models.REGISTRY:
        raise BadInput(f"{path}: its network {name!r} does not come with tinyq; if it is your own, "
                       "name it with --model path/to/file.py:function, or the plug-in that makes it with --plugin "
                       "FILE.py")
    return name


def data_of(path: str | Path, attributes: dict) -> str:
    """Name of the file's data; BadInput unless they come with tinyq or an active plug-in, and are no code."""
    from tinyq import data

    name = attributes["data"]
    if name not in data.READERS:
        raise BadInput(f"{path}: its data {name!r} do not come with tinyq; if they are your own, name them with "
                       "--data, or the plug-in that reads them with --plugin FILE.py")
    return name


def data_options(attributes: dict) -> dict:
    """Return the options that the data were read with, except paths, which are never taken from a file."""
    from tinyq import data

    options = json.loads(attributes["data_options"])
    return {key: value for key, value in options.items() if key not in data.PATH_OPTIONS}


def without_preparation(options: dict) -> dict:
    """Return the options of a dataset's reader that do not say how samples become input."""
    from tinyq.data import PREPARATION_OPTIONS

    return {key: value for key, value in options.items() if key not in PREPARATION_OPTIONS}


def preparation_of(path: str | Path, attributes: dict) -> Preparation | None:
    """Return how samples become input of the network; None where its file does not say. BadInput for wrong values."""
    text = attributes.get("preprocessing")
    if text is None:
        return None
    try:
        return parse(text, shape_of(attributes))
    except ValueError as error:
        raise BadInput(f"{path}: its attribute preprocessing does not say how samples become input: {error}; pack or "
                       "convert it again") from error


def _is_shape(text: object) -> bool:
    return isinstance(text, str) and bool(re.fullmatch("[1-9][0-9]{0,5}(,[1-9][0-9]{0,5}){0,3}", text))


def target_faults(attributes: dict) -> list[str]:
    """Say what is wrong with the targets of a network that predicts numbers or labels."""
    kind, shape = attributes.get("targets", CLASSES), attributes.get("target_shape")
    names = attributes.get("class_names")
    if kind == CLASSES:
        return []
    if kind not in KINDS:
        return [f"targets is none of {', '.join(KINDS)}"]
    fits = _is_shape(shape) and isinstance(names, list) and math.prod(map(int, str(shape).split(","))) == len(names)
    return [] if fits else ["target_shape is no shape of as many numbers as class_names has"]


def _loss_faults(attributes: dict) -> list[str]:
    texts = [name for name in ("loss", "class_weights") if not isinstance(attributes.get(name, ""), str)]
    return [f"{name} is no text" for name in texts] + (
        [] if type(attributes.get("ignore_index", 0)) is int else ["ignore_index is no whole number"])


def _data_faults(attributes: dict) -> list[str]:
    from tinyq import data
    from tinyq.run.settings import config

    name = attributes["data"]
    if name not in data.READERS:                            # which data_of says where the data are needed
        return []
    try:
        options = data_options(attributes)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return ["data_options is no JSON object"]
    known = config.options_of(name)
    return [f"data_options: {key} is no setting of {name}" for key in options if key not in known] + [
        f"data_options: {key} has a value that {name} does not take" for key, value in options.items()
        if key in known and not _is_taken(name, key, value, known[key].default)]


def _is_taken(name: str, key: str, value: object, default: object) -> bool:
    from tinyq.run.settings import config

    try:
        return value == default or (config.converted(f"{name}.{key}", value, "") == value
                                    and not (isinstance(value, int | float) and value < 0))
    except UsageError:
        return False
