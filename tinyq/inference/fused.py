"""The one evaluation of a network: what `tinyq.evaluate`, a run's result and a packed model all compute."""
import numpy as np

from tinyq.inference.fuse import fuse
from tinyq.inference.record import Value, record


class Fused:
    """A network in evaluation mode with its present weights, as a function of an array.

    Every convolution and linear layer is a product with the bare levels and one affine for each channel, computed in
    float64 and rounded once, into which the batch norm behind it has gone; an addition and a ReLU that follow are done
    where the product is stored. The network is recorded once for every shape of input: its layers may depend on the
    shape, not on the values.
    """

    def __init__(self, model):
        """Take the model; what changes in it later is not seen in shapes met before."""
        self.model, self._programs = model, {}

    def __call__(self, x):
        """What the network makes of the batch x, both arrays."""
        key = x.shape, x.dtype
        if key not in self._programs:
            self._programs[key] = _program(self.model, x)
        steps, result = self._programs[key]
        if type(result) is not Value:
            return result                                   # it does not depend on the input
        values = {Value(-1): x}
        for number, step, finished in steps:
            values[Value(number)] = step.run(*(values[a] if type(a) is Value else a for a in step.inputs),
                                             **step.params)
            for value in finished:
                del values[value]
        return values[result]


def _program(model, x):
    """([(number, step, the Values that nobody reads after it)], result)."""
    steps, result = record(model, np.zeros_like(x))
    if type(result) is Value:
        steps = fuse(steps, result, x.shape)
    last_reader = {a: i for i, step in enumerate(steps) if step for a in step.inputs if type(a) is Value}
    finished = {}
    for value, i in last_reader.items():
        if value != result:
            finished.setdefault(i, []).append(value)
    return [(i, step, finished.get(i, [])) for i, step in enumerate(steps) if step], result
