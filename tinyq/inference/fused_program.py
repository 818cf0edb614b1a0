"""Run fused steps on batches of one shape."""
from collections.abc import Iterator, Sequence

import numpy as np

from tinyq.inference.fused_product import prepare
from tinyq.inference.join import join
from tinyq.inference.steps import PRODUCT, Step, Value, readers_of


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
