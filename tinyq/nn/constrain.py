"""Choose the weights that a method may constrain to levels."""
import numpy as np

from tinyq.autodiff import Tensor, no_record
from tinyq.errors import UsageError, did_you_mean
from tinyq.nn.conv_layers import Conv2d
from tinyq.nn.linear import Linear
from tinyq.nn.module import evaluating

_CHOICES = {
    "inner": lambda weights: weights[1:-1],     # both papers' choice: the first and the last layer stay float
    "all": lambda weights: weights,
    "none": lambda weights: [],
}


def constrain(model, which="inner", weights=None):
    """Mark the conv and linear weights that a method constrains: "inner" (all but the first and last), "all" or "none".

    First and last are by `weights`, such as computing_weights finds them; without it by order of assignment. A layer
    made with constrained=False stays float in any case. Returns the model.
    """
    if which not in _CHOICES:
        raise UsageError(f"--constrain {which}: no such choice; {did_you_mean(which, _CHOICES)}")
    assigned = _layer_weights(model)
    for weight in assigned:
        weight.constrained = False
    for weight in _CHOICES[which](assigned if weights is None else weights):
        weight.constrained = weight.constrainable
    return model


def computing_weights(model, input_shape):
    """(the conv and linear weights in the order that a sample of zeros meets them, the output Tensor).

    A weight that is used again counts once, where it was met first. The sample has `input_shape`, the pass is in
    evaluation mode and leaves nothing behind.
    """
    met: list = []
    weights = _layer_weights(model)
    for weight in weights:
        weight.effective = _listening(weight, met)
    try:
        with evaluating(model), no_record(), np.errstate(all="ignore"):     # weights of zero may well divide by zero
            y = model(Tensor(np.zeros((1, *input_shape), np.float32)))
    finally:
        for weight in weights:
            del weight.effective                                    # the class's own again
    return list(dict.fromkeys(met)), y


def _layer_weights(model):
    return [module.weight for _, module in model.named_modules() if isinstance(module, Conv2d | Linear)]


def _listening(weight, met):
    def effective():
        met.append(weight)
        return type(weight).effective(weight)
    return effective
