"""Choose what the file of a converted network says of its inputs: which data, and how they are prepared."""
import dataclasses
import json
from dataclasses import dataclass

from tinyq import data
from tinyq.errors import UsageError, did_you_mean
from tinyq.inputs.preparation import Preparation, parse
from tinyq.inputs.shapes import FIXED_CLASSES, PHOTOGRAPHS, SHAPES

IMAGENET = 1000, (3, 224, 224)          # classes and input shape by which ImageNet is recognised


@dataclass(frozen=True)
class Inputs:
    """Facts about a network's inputs, which its weights do not tell; None leaves one to the dataset, or unsaid."""

    data: str | None = None                     # dataset that the network was trained on, or one prepared like it
    shape: tuple[int, ...] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    resize: int | None = None

    def input_shape(self) -> tuple[int, ...]:
        """Return the shape of one input: as given, else the dataset's, else that of ImageNet."""
        if self.data is not None and self.data not in SHAPES:
            raise UsageError(f"data {self.data!r} is unknown; {did_you_mean(self.data, SHAPES)}")
        return self.shape or SHAPES[self.data or "imagenet"][1]

    def attributes(self, classes: int) -> dict:
        """Return the attributes data, data_options, input_shape, preprocessing and class_names, as far as known.

        data is empty where it is not known; preparation_assumed says that the preparation is only the usual one.

        UsageError where the dataset does not fit the network.
        """
        shape = self.input_shape()
        name = self.data or _usual_data(classes, shape)
        if name is not None:
            _check_fit(name, shape, classes)
        preparation = self._changed(data.preparation_of(name, shape) if name else None, shape)
        names = data.class_names_of(name) if name else None
        return {"data": name or "", "data_options": "{}", "input_shape": ",".join(map(str, shape)),
                **({"preprocessing": json.dumps(preparation.facts())} if preparation else {}),
                **({"preparation_assumed": 1} if name and not self.data and not (self.mean and self.std) else {}),
                "class_names": list(names) if names else list(map(str, range(classes)))}

    def _changed(self, preparation: Preparation | None, shape: tuple[int, ...]) -> Preparation | None:
        """Return the preparation with the values that are given."""
        given = {key: value for key in ("mean", "std", "resize") if (value := getattr(self, key)) is not None}
        if preparation is None and given and not {"mean", "std"} <= set(given):
            raise UsageError(f"{next(iter(given))}: give mean and std together, or the data whose others are used")
        if not given:
            return preparation
        changed = dataclasses.replace(preparation, **given) if preparation else Preparation(**given)
        try:
            return parse(json.dumps(changed.facts()), shape)
        except ValueError as error:
            raise UsageError(f"{next(iter(given))}: {changed.shown()} do not fit inputs of shape {shape}: {error}"
                             ) from error


def described(attributes: dict) -> str:
    """Say in a few words what the file holds of its inputs."""
    if "preprocessing" not in attributes:
        return "it does not say how inputs are prepared, which --data NAME would"
    preparation = parse(attributes["preprocessing"], tuple(map(int, attributes["input_shape"].split(","))))
    assumed = " (assumed; --data NAME says otherwise)" if "preparation_assumed" in attributes else ""
    return f"inputs{' as ' + attributes['data'] if attributes['data'] else ''}{assumed}: {preparation.shown()}"


def _usual_data(classes: int, shape: tuple[int, ...]) -> str | None:
    """Return the photographs that a network of square colour images is for; None for other inputs."""
    if len(shape) != 3 or shape[0] != 3 or shape[1] != shape[2]:
        return None
    return "imagenet" if (classes, shape) == IMAGENET else "imagefolder"


def _check_fit(name: str, shape: tuple[int, ...], classes: int) -> None:
    known, own = SHAPES[name]
    any_plane = name in ("mnist", *PHOTOGRAPHS)             # IDX files hold images of any size
    fits = len(shape) == len(own) and (shape[0] == own[0] if any_plane else shape == own)
    if not fits or name in PHOTOGRAPHS and shape[1] != shape[2]:
        raise UsageError(f"data {name}: its samples have the shape {own}, which does not fit inputs of shape {shape}; "
                         "give the data's shape as input_shape, or other data")
    if name in FIXED_CLASSES and classes != known:
        raise UsageError(f"data {name}: has {known:,} classes, where the weights have {classes:,}; choose other data")
