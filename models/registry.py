"""Models by name."""
import inspect

from tinyq import nn
from tinyq.errors import UsageError, did_you_mean
from tinyq.models.alexnet import alexnet, alexnet_bn
from tinyq.models.cifar_resnet import resnet20, resnet32, resnet56
from tinyq.models.digits_cnn import digits_cnn
from tinyq.models.googlenet import googlenet
from tinyq.models.lenet import lenet
from tinyq.models.mlp import logistic, mlp
from tinyq.models.resnet import cifar_resnet18, resnet18, resnet34, resnet50, resnet101
from tinyq.models.user import user_model

REGISTRY = {
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
    "googlenet": googlenet,
}

# What torchvision's files of a network may hold beyond it: heads that only its own training uses.
OPTIONAL_PREFIXES = {"googlenet": ("aux1.", "aux2.")}


def build(name, num_classes, input_shape, constrain="inner"):
    """The model `name` for this data, its weights still to be initialised (zeros).

    name: one of REGISTRY, with an argument after a colon where it takes one ("mlp:100,50", "googlenet:aux"), or a
    user's "path/to/file.py:factory", called as factory(num_classes, input_shape): it returns a tinyq.nn.Module that
    maps a Tensor (n, *input_shape) to logits (n, num_classes). input_shape: (c, h, w) or (features,). constrain: the
    weights a method may constrain ("inner", "all", "none"). "inner" leaves out the first and the last conv or linear
    layer: of a user's model, of those that a traced sample met, in that order; one made with constrained=False stays
    float.
    UsageError says in one line what is wrong, in a user's file with its line.
    """
    base, colon, argument = name.partition(":")
    if ".py" in name:
        model, weights = user_model(name, num_classes, tuple(input_shape))
        return nn.constrain(model, constrain, weights)
    if base not in REGISTRY:
        raise UsageError(f"--model {name}: no such model; {did_you_mean(base, REGISTRY)}; or path/to/file.py:factory")
    if colon and "argument" not in inspect.signature(REGISTRY[base]).parameters:
        raise UsageError(f"--model {name}: {base} takes no argument")
    model = REGISTRY[base](num_classes, tuple(input_shape), *([argument] if colon else []))
    return nn.constrain(model, constrain)
