"""Models by name."""
import inspect
from collections.abc import Callable

from tinyq import nn
from tinyq.errors import UsageError, did_you_mean
from tinyq.models.alexnet import alexnet, alexnet_bn
from tinyq.models.cifar_resnet import resnet20, resnet32, resnet56
from tinyq.models.digits_cnn import digits_cnn
from tinyq.models.googlenet import googlenet
from tinyq.models.input_checks import Shape
from tinyq.models.lenet import lenet
from tinyq.models.mlp import logistic, mlp
from tinyq.models.resnet import (
    cifar_resnet18,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
    resnext50_32x4d,
    wide_resnet50_2,
)
from tinyq.models.user import user_model
from tinyq.own_code import UserFunction, names_code

REGISTRY: dict[str, Callable[..., nn.Module]] = {
    "logistic": logistic,
    "mlp": mlp,
    "lenet": lenet,
    "digits_cnn": digits_cnn,
    "resnet20": resnet20,
    "resnet32": resnet32,
    "resnet56": resnet56,
    "cifar_resnet18": cifar_resnet18,
    "alexnet": alexnet,
    "alexnet_bn": alexnet_bn,
    "resnet18": resnet18,
    "resnet34": resnet34,
    "resnet50": resnet50,
    "resnet101": resnet101,
    "resnet152": resnet152,
    "wide_resnet50_2": wide_resnet50_2,
    "resnext50_32x4d": resnext50_32x4d,
    "googlenet": googlenet,
}

# Prefixes of arrays in torchvision's files that a network may lack: heads that only training uses.
OPTIONAL_PREFIXES = {"googlenet": ("aux1.", "aux2.")}


def build(name: str | UserFunction, num_classes: int, input_shape: Shape, constrain: str = "inner",
          keep: str = "") -> nn.Module:
    """Make the model `name` for this data; its weights are zeros until `initialise` is called.

    UsageError says in one line what is wrong, in a user's file with its line.

    Args:
        name: one of REGISTRY, with an argument after a colon where it takes one ("mlp:100,50", "googlenet:aux"); or
            a user's "path/to/file.py:factory", called as factory(num_classes, input_shape), which returns a
            tinyq.nn.Module that maps a Tensor (n, *input_shape) to logits (n, num_classes); or such a function, read.
        num_classes: number of logits.
        input_shape: (c, h, w) or (features,).
        constrain: weights that a method may constrain: "inner" (all conv and linear weights except those of the first
            and the last layer that compute), "all" or "none"; a layer made with constrained=False stays float.
        keep: layers that stay float, by dotted name or pattern, separated by commas.
    """
    if isinstance(name, UserFunction) or names_code(name):
        factory = name if isinstance(name, UserFunction) else UserFunction.read("model", name)
        model, weights = user_model(factory, num_classes, tuple(input_shape))
        return nn.constrain(model, constrain, weights, keep)
    base, colon, argument = name.partition(":")
    if base not in REGISTRY:
        raise UsageError(f"model {name}: no such model; {did_you_mean(base, REGISTRY)}; or path/to/file.py:factory")
    if colon and "argument" not in inspect.signature(REGISTRY[base]).parameters:
        raise UsageError(f"model {name}: takes no argument")
    model = REGISTRY[base](num_classes, tuple(input_shape), *([argument] if colon else []))
    return nn.constrain(model, constrain, keep=keep)
