"""Evaluate a network with fused steps, as `tinyq.evaluate`, the result of a run and packed models do."""
from collections.abc import Iterator, Sequence

import numpy as np

from tinyq.inference.fuse import PRODUCT, fuse, readers_of
from tinyq.inference.fused_product import prepare
from tinyq.inference.join import join
from tinyq.inference.record import Step, Value, record
from tinyq.nn import Module


class Fused:
    """A function from an input array to the outputs of a network in evaluation mode.

    Each convolution or linear layer multiplies by unscaled levels and applies one affine per channel, which includes
    the following batch norm and is computed in float64 and rounded once. A following addition and ReLU happen when the
    product is stored. Max pooling may return 0 with another sign than the layer, if both -0 and +0 are largest. The
    network is recorded once per input shape: its computation may depend on the shape but not on the values.
    """

    def __init__(self, model: Module) -> None:
        """Start without recordings; changes of the model after the first call with a shape do not affect that shape."""
        self.model = model
        self._programs: dict[tuple[tuple[int, ...], np.dtype], Program] = {}

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the network's outputs (array) for the batch x (array)."""
        key = x.shape, x.dtype
        if key not in self._programs:
            steps, result = record(self.model, np.zeros_like(x))
            fused = fuse(steps, result, x.shape) if isinstance(result, Value) else steps
            self._programs[key] = Program(fused, result, x.shape)
        return self._programs[key](x)


class Program:
    """Fused steps prepared for one input shape."""

    def __init__(self, steps: Sequence[Step | None], result: Value | np.ndarray, input_shape: tuple[int, ...]) -> None:
        """Prepare the steps; None stands for a step that was fused into another."""
        shapes = {Value(-1): input_shape, **{Value(i): step.shape for i, step in enumerate(steps) if step}}
        self.steps, self.result = [], result
        listed = join(steps, readers_of(steps, result)) if isinstance(result, Value) else []
        last_reader = {a: value for value, step, _ in listed for a in step.inputs if type(a) is Value}
        finished: dict[Value, list[Value]] = {}
        for a, value in last_reader.items():
            if a != result:
                finished.setdefault(value, []).append(a)
        for value, step, first in listed:
            ready = prepare(step, shapes[step.inputs[0]] if step.name == PRODUCT else None, first)
            self.steps.append((value, ready, finished.get(value, [])))      # and the values that this step reads last

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Compute the result; it is a constant array if it does not depend on x."""
        if not isinstance(self.result, Value):
            return self.result
        y = x
        for value, array in self.values(x):
            if value == self.result:
                y = array
        return y

    def values(self, x: np.ndarray) -> Iterator[tuple[Value, np.ndarray]]:
        """Yield (Value, array) of each step in order, and release arrays after their last reader."""
        values = {Value(-1): x}
        for value, step, finished in self.steps:
            assert step.run is not None
            values[value] = step.run(*(values[a] if type(a) is Value else a for a in step.inputs), **step.params)
            if value.step >= 0:
                yield value, values[value]
            for other in finished:
                del values[other]
