"""Say how the samples of a dataset become input, without reading it."""
from typing import Any

from tinyq.data.sources import cifar10, embedded, imagefolder, mnist
from tinyq.inputs.preparation import Preparation

OPTIONS = ("size", "resize", "whole", "exif")           # options of readers that are part of the preparation


def preparation_of(name: str, input_shape: tuple[int, ...], **options: Any) -> Preparation | None:
    """Return how dataset `name` would prepare inputs of this shape with these options; None for an unknown dataset.

    UsageError for an option that the dataset does not have, or with a wrong value.
    """
    match name:
        case "iris":
            return embedded.load_iris(**options).preparation
        case "digits":
            return embedded.digits_preparation(**options)
        case "mnist":
            return mnist.preparation(**options)
        case "cifar10":
            return cifar10.PREPARATION
        case "imagefolder" | "imagenet":
            return imagefolder.preparation(**{"size": input_shape[1], **options})
    return None
