"""Models by name, and models from a user's file."""
import importlib.util
import sys
from pathlib import Path

from tinyq import nn
from tinyq.errors import TinyqError, UsageError, did_you_mean
from tinyq.models.digits_cnn import digits_cnn
from tinyq.models.lenet import lenet
from tinyq.models.mlp import logistic, mlp
from tinyq.models.resnet import resnet20, resnet32, resnet56

REGISTRY = {
    "logistic": logistic,
    "mlp": mlp,
    "lenet": lenet,
    "digits_cnn": digits_cnn,
    "resnet20": resnet20,
    "resnet32": resnet32,
    "resnet56": resnet56,
}


def build(name, num_classes, input_shape, constrain="inner"):
    """The model `name` for this data, its weights still to be initialised.

    name: one of REGISTRY, with an argument after a colon where it takes one ("mlp:100,50"), or a user's
    "path/to/file.py:factory", called as factory(num_classes, input_shape). input_shape: (c, h, w) or
    (features,). constrain: the weights a method may confine ("inner", "all", "none"), see nn.constrain.
    """
    base, colon, argument = name.partition(":")
    if ".py" in name:
        model = _from_file(name, num_classes, tuple(input_shape))
    elif base not in REGISTRY:
        raise UsageError(f"--model {name}: no such model; {did_you_mean(base, REGISTRY)}; or path/to/file.py:factory")
    elif colon and REGISTRY[base] is not mlp:
        raise UsageError(f"--model {name}: {base} takes no argument")
    else:
        model = REGISTRY[base](num_classes, tuple(input_shape), *([argument] if colon else []))
    return nn.constrain(model, constrain)


def _from_file(name, num_classes, input_shape):
    """Import the file, call its factory, and say in one line what went wrong if anything does."""
    path, _, factory = name.rpartition(":")
    if not factory.isidentifier() or not path.endswith(".py"):
        raise UsageError(f"--model {name}: say which function builds it, such as {name.split(':')[0]}:factory")
    if not Path(path).is_file():
        raise UsageError(f"--model {name}: there is no file {path}")
    spec = importlib.util.spec_from_file_location(f"user_model_{Path(path).stem}", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)     # dataclasses look themselves up there
    try:
        spec.loader.exec_module(module)
        if not hasattr(module, factory):
            raise UsageError(f"--model {name}: {path} defines no {factory}")
        model = getattr(module, factory)(num_classes, input_shape)
    except TinyqError:
        raise
    except Exception as error:
        raise UsageError(f"--model {name}: {path} failed: {type(error).__name__}: {error}") from error
    if not isinstance(model, nn.Module):
        raise UsageError(f"--model {name}: {factory} returned a {type(model).__name__}, not a tinyq.nn.Module")
    return model
