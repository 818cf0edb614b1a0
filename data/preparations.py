"""Say how the samples of a dataset become input, without reading it."""
from typing import Any

from tinyq.data.sources import cifar10, embedded, imagefolder, mnist
from tinyq.inputs.preparation import Preparation

# of readers that are part of the preparation
PREPARATION_OPTIONS = ("size", "resize", "whole", "exif", "channels", "bits")


def class_names_of(name: str) -> tuple[str, ...] | None:
    """Return the classes that a dataset always has, where they are more than numbers."""
    match name:
        case "iris":
            return embedded.load_iris().class_names
        case "cifar10":
            return cifar10.CLASSES
    return None


def preparation_of(name: str, input_shape: tuple[int, ...], **options: Any) -> Preparation | None:
    """Return how dataset `name` would prepare inputs of this shape; None for an unknown dataset.

    options: of its reader, of which those that matter are used. UsageError for a wrong value.
    """
    kept = {key: value for key, value in options.items() if key in PREPARATION_OPTIONS}
    match name:
        case "iris":                                    # its mean and std are those of its training part
            others = {key: value for key, value in options.items() if key in ("split", "validation")}
            return embedded.load_iris(**kept, **others).preparation
        case "digits":
            return embedded.digits_preparation(**kept)
        case "mnist":
            return mnist.preparation(**kept)
        case "cifar10":
            return cifar10.PREPARATION
        case "imagefolder" | "imagenet":
            return imagefolder.preparation(**{"size": input_shape[1], **kept})
    return None
