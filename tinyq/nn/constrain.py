"""Choose the weights that a method may constrain to levels, and check that the levels of each layer are given."""
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TypeVar

import numpy as np

from tinyq.autodiff import Tensor, no_record, tape
from tinyq.errors import UsageError, did_you_mean
from tinyq.levels import REST, LayerLevels, Levels, layer_of
from tinyq.nn.conv_layers import Conv1d, Conv2d
from tinyq.nn.linear import Linear
from tinyq.nn.module import Module, evaluating
from tinyq.nn.parameter import Parameter

M = TypeVar("M", bound=Module)

_CHOICES: dict[str, Callable[[Sequence[Parameter]], Sequence[Parameter]]] = {
    "inner": lambda weights: weights[1:-1],     # the choice of both papers
    "all": lambda weights: weights,
    "none": lambda weights: [],
}


def constrain(model: M, which: str = "inner", weights: Sequence[Parameter] | None = None, keep: str = "") -> M:
    """Mark the conv and linear weights that a method constrains: "inner" (all but the first and last), "all" or "none".

    `weights`, such as those of computing_weights, gives the order; by default it is that of assignment. keep: layers
    that stay float, by dotted name or pattern, separated by commas. A layer made with constrained=False, or whose
    weight's `constrained` was set to False, stays float too. Returns the model. UsageError for another choice, or for
    an entry of `keep` that fits no layer.
    """
    if which not in _CHOICES:
        raise UsageError(f"constrain {which}: no such choice; {did_you_mean(which, _CHOICES)}")
    assigned, layers = _layer_weights(model), _weighted_layers(model)
    kept = {id(layers[layer]) for pattern in _entries(keep) for layer in _fitting("keep", pattern, pattern, layers)}
    for weight in assigned:
        weight.choose(False)
    for weight in _CHOICES[which](assigned if weights is None else weights):
        weight.choose(id(weight) not in kept)
    return model


def check_levels(model: Module, levels: Levels, keep: str = "", everything: bool = False) -> None:
    """Check that `levels` give one set to each layer that a method constrains, and no set to another layer.

    model: after `constrain`, with the same `keep`. everything: the method constrains each parameter, biases included.
    UsageError names the first entry that fits no layer, contradicts another or has no effect, or the layers without a
    set.
    """
    if not isinstance(levels, LayerLevels):
        return
    named = dict(model.named_parameters())
    held = dict.fromkeys(layer_of(name) for name in named)
    layers = dict.fromkeys(layer_of(name) for name, p in named.items() if everything or p.constrained)
    entries = {layer: levels.entry_of(layer) for layer in layers}
    for pattern, level_set in levels.sets.items():
        if pattern != REST and pattern not in entries.values():
            shown = f"{pattern}={level_set.name}"
            fitting = _fitting("levels", shown, pattern, held)
            if layers.keys() & set(fitting):
                raise UsageError(f"levels {shown}: has no effect, because other entries name each layer that it fits; "
                                 "leave it out")
            raise UsageError(f"levels {shown}: {_why_float(model, fitting[0], keep)}")
    without = [layer for layer, entry in entries.items() if entry is None]
    if without:
        raise UsageError(f"levels {levels.name}: no set for {', '.join(without)}; {levels.remedy}")


def _entries(keep: str) -> list[str]:
    return [entry.strip() for entry in keep.split(",") if entry.strip()]


def _fitting(parameter: str, shown: str, pattern: str, layers: Iterable[str]) -> list[str]:
    """Return the layers that the pattern fits; UsageError, which suggests a near name, if there is none."""
    names = list(layers)
    found = [layer for layer in names if fnmatchcase(layer, pattern)]
    if found:
        return found
    below = any(layer.startswith(f"{pattern}.") for layer in names)
    choices = f"did you mean '{pattern}.*'?" if below else did_you_mean(pattern.removesuffix(".weight"), names)
    kind = "conv or linear layer" if parameter == "keep" else "layer"
    raise UsageError(f"{parameter} {shown}: no {kind} here fits {pattern}; {choices}")


def _why_float(model: Module, layer: str, keep: str) -> str:
    """Say why a layer that is not constrained has no levels."""
    weight = _weighted_layers(model).get(layer)
    if weight is None:
        return f"{layer} has no conv or linear weight, so it stays float; leave the entry out"
    if any(fnmatchcase(layer, entry) for entry in _entries(keep)):
        return f"{layer} stays float because of keep {keep}; leave one of them out"
    if not weight.constrainable:
        return f"{layer} was made to stay float; leave the entry out"
    return f"{layer} stays float as the first or the last layer; with constrain \"all\" it does not"


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
    return [module.weight for _, module in model.named_modules() if isinstance(module, Conv1d | Conv2d | Linear)]


def _weighted_layers(model: Module) -> dict[str, Parameter]:
    """Return {dotted name: weight} of the conv and linear layers."""
    weights = set(_layer_weights(model))
    return {layer_of(name): p for name, p in model.named_parameters() if p in weights}
