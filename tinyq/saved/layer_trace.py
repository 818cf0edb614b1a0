"""Find the output shape and multiply-accumulates of each layer by running one sample through the network."""
from dataclasses import dataclass

import numpy as np

from tinyq.nn import Module, Parameter, hooked
from tinyq.saved.measure import logits_of


@dataclass(frozen=True)
class LayerTrace:
    """One layer that has parameters."""

    name: str
    kind: str                           # its class
    output: tuple[int, ...]             # of one sample, at its last call
    macs: int                           # multiply-accumulates with its weight, over all calls


def trace(model: Module, input_shape: tuple[int, ...]) -> list[LayerTrace]:
    """Trace the layers with parameters in the order of their first calls, and at the end those that none calls.

    input_shape: of one sample.
    """
    layers = [(name, module) for name, module in model.named_modules()
              if any(isinstance(value, Parameter) for value in vars(module).values())]
    outputs: dict[Module, list[tuple[int, ...]]] = {}

    def note(module, call, *inputs, **options):
        found = outputs.setdefault(module, [])
        y = call(*inputs, **options)
        found.append(y.shape[1:])
        return y

    with hooked([module for _, module in layers], note):
        logits_of(model, np.zeros((1, *input_shape), np.float32))
    traces, names = [], {module: name for name, module in layers}
    for module in dict.fromkeys([*outputs, *names]):
        name, shapes = names[module], outputs.get(module, [])
        macs = sum(_macs(module, shape) for shape in shapes)
        traces.append(LayerTrace(name, type(module).__name__, shapes[-1] if shapes else (), macs))
    return traces


def _macs(module, output):
    """Count the multiply-accumulates of a conv or linear layer: one per output and weight of its filter."""
    weight = getattr(module, "weight", None)
    if weight is None or weight.ndim < 2:
        return 0
    return int(np.prod(output, dtype=np.int64) * np.prod(weight.shape[1:], dtype=np.int64))
