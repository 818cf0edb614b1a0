"""The one evaluation of a network: what `tinyq.evaluate`, a run's result and a packed model all compute."""
import numpy as np

from tinyq.inference.fuse import PRODUCT, fuse, readers_of
from tinyq.inference.fused_product import prepare
from tinyq.inference.join import join
from tinyq.inference.record import Value, record


class Fused:
    """A network in evaluation mode with its present weights, as a function of an array.

    Every convolution and linear layer is a product with the bare levels and one affine for each channel, computed in
    float64 and rounded once, into which the batch norm behind it has gone; an addition and a ReLU that follow are done
    where the product is stored. Max pooling finds values alone, and of equal zeros may take another's sign than the
    layer does. The network is recorded once for every shape of input: its layers may depend on the
    shape, not on the values.
    """

    def __init__(self, model):
        """Take the model; what changes in it later is not seen in shapes met before."""
        self.model, self._programs = model, {}

    def __call__(self, x):
        """Return the network's outputs for the batch x, both arrays."""
        key = x.shape, x.dtype
        if key not in self._programs:
            steps, result = record(self.model, np.zeros_like(x))
            if type(result) is Value:
                steps = fuse(steps, result, x.shape)
            self._programs[key] = Program(steps, result, x.shape)
        return self._programs[key](x)


class Program:
    """Fused steps made ready for one shape of input."""

    def __init__(self, steps, result, input_shape):
        """Prepare the steps, of which some may be None: those that went into others."""
        shapes = {Value(-1): input_shape, **{Value(i): step.shape for i, step in enumerate(steps) if step}}
        self.steps, self.result = [], result
        listed = join(steps, readers_of(steps, result)) if type(result) is Value else []
        last_reader = {a: value for value, step, _ in listed for a in step.inputs if type(a) is Value}
        finished: dict[Value, list[Value]] = {}
        for a, value in last_reader.items():
            if a != result:
                finished.setdefault(value, []).append(a)
        for value, step, first in listed:
            ready = prepare(step, shapes[step.inputs[0]] if step.name == PRODUCT else None, first)
            self.steps.append((value, ready, finished.get(value, [])))      # and whom nobody reads any more

    def __call__(self, x):
        """The result, which may not depend on x."""
        if type(self.result) is not Value:
            return self.result
        y = x
        for value, array in self.values(x):
            if value == self.result:
                y = array
        return y

    def values(self, x):
        """(Value, array) of each step in turn; what nobody reads any more is let go."""
        values = {Value(-1): x}
        for value, step, finished in self.steps:
            values[value] = step.run(*(values[a] if type(a) is Value else a for a in step.inputs), **step.params)
            if value.step >= 0:
                yield value, values[value]
            for other in finished:
                del values[other]
