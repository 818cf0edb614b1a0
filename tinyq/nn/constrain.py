"""Choose the weights that a method may constrain to levels."""
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from tinyq.autodiff import Tensor, no_record, tape
from tinyq.errors import UsageError, did_you_mean
from tinyq.nn.conv_layers import Conv2d
from tinyq.nn.linear import Linear
from tinyq.nn.module import Module, evaluating
from tinyq.nn.parameter import Parameter

M = TypeVar("M", bound=Module)

_CHOICES: dict[str, Callable[[Sequence[Parameter]], Sequence[Parameter]]] = {
    "inner": lambda weights: weights[1:-1],     # the choice of both papers
    "all": lambda weights: weights,
    "none": lambda weights: [],
}


def constrain(model: M, which: str = "inner", weights: Sequence[Parameter] | None = None) -> M:
    """Mark the conv and linear weights that a method constrains: "inner" (all but the first and last), "all" or "none".

    `weights`, such as those of computing_weights, gives the order; by default it is that of assignment. A layer made
    with constrained=False, or whose weight's `constrained` was set to False, stays float. Returns the model. UsageError
    for another choice.
    """
    if which not in _CHOICES:
        raise UsageError(f"constrain {which}: no such choice; {did_you_mean(which, _CHOICES)}")
    assigned = _layer_weights(model)
    for weight in assigned:
        weight.choose(False)
    for weight in _CHOICES[which](assigned if weights is None else weights):
        weight.choose(True)
    return model


def computing_weights(model: Module, input_shape: tuple[int, ...]) -> tuple[list[Parameter], Tensor]:
    """Return (conv and linear weights in the order of their first use, output Tensor), from a pass of one sample.

    The sample is zeros of `input_shape`. The pass is in evaluation mode and records no gradients. An unused weight is
    left out. UsageError for a parameter that computes and is not among the model's own.
    """
    weights: dict[Tensor, Parameter] = {weight: weight for weight in _layer_weights(model)}
    own, met = set(model.parameters()), list[Parameter]()

    def note(primitive, inputs, params, output):
        used = [x if x.parameter is None else x.parameter for x in inputs if isinstance(x, Tensor)]
        for x in used:
            if isinstance(x, Parameter) and x not in own:
                raise UsageError(f"{primitive.name} uses a parameter of shape {x.shape} that the model does not hold, "
                                 "so it would never be trained; assign its layer to an attribute, or to a list, tuple "
                                 "or dict that is one")
        met.extend(weights[x] for x in used if x in weights)

    with evaluating(model), no_record(), tape.traced(note), np.errstate(all="ignore"):      # zeros may divide by zero
        y = model(Tensor(np.zeros((1, *input_shape), np.float32)))
    return list(dict.fromkeys(met)), y


def _layer_weights(model: Module) -> list[Parameter]:
    return [module.weight for _, module in model.named_modules() if isinstance(module, Conv2d | Linear)]
