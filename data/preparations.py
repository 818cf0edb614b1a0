"""Say how the samples of a dataset become input, without reading it."""
from typing import Any

from tinyq.data.sources import cifar10, embedded, imagefolder, mnist
from tinyq.inputs.preparation import Preparation

OPTIONS = ("size", "resize", "whole", "exif")           # options of readers that are part of the preparation


def class_names_of(name: str) -> tuple[str, ...] | None:
    """Return the classes that a dataset always has, where they are more than numbers."""
    match name:
        case "iris":
            return embedded.load_iris().class_names
        case "cifar10":
            return cifar10.CLASSES
    return None


def preparation_of(name: str, input_shape: tuple[int, ...], **options: Any) -> Preparation | None:
    """Return how dataset `name` would prepare inputs of this shape with these options; None for an unknown dataset.

    options: of the reader, those of OPTIONS, and for iris its split. UsageError for a wrong value.
    """
    match name:
        case "iris":
            return embedded.load_iris(**options).preparation
        case "digits":
            return embedded.digits_preparation(whole=options.get("whole", False))
        case "mnist":
            return mnist.preparation(**options)
        case "cifar10":
            return cifar10.PREPARATION
        case "imagefolder" | "imagenet":
            return imagefolder.preparation(**{"size": input_shape[1], **options})
    return None
