"""Record a network's evaluation as a list of steps, one for each primitive applied to a batch."""
import weakref
from typing import Any

import numpy as np

from tinyq.autodiff import Tensor, no_record, tape
from tinyq.autodiff.primitives import Primitive
from tinyq.inference.steps import Step, Value
from tinyq.nn import Module, evaluating


def record(model: Module, x: np.ndarray) -> tuple[list[Step], Value | np.ndarray]:
    """Record model(Tensor(x)) in evaluation mode; return (steps, Value of the result). The modes are restored.

    Arrays that do not depend on x are constants. The steps are valid only for inputs with the shape of x, because a
    network may use its input's sizes.
    """
    recorder = _Recorder(x)
    with evaluating(model), no_record(), tape.traced(recorder.note), np.errstate(all="ignore"):
        y = model(Tensor(x))
    return recorder.steps, recorder.value_of(y.data)


class _Recorder:
    """Collect steps; arrays are known by identity, so two Tensors that share an array are one value."""

    def __init__(self, x: np.ndarray) -> None:
        self.steps: list[Step] = []
        self._known = {id(x): (weakref.ref(x), Value(-1))}

    def value_of(self, array):
        """Return the array's Value, or the array itself if it has none.

        The recorder keeps no array alive, and a new array may have the id of one that is gone.
        """
        known, value = self._known.get(id(array), (lambda: None, None))
        return value if array is not None and known() is array else array

    def note(self, primitive: Primitive[Any], inputs: tuple[Any, ...], params: dict[str, Any], output: Tensor) -> None:
        """Add a step if an input of the primitive depends on the network's input."""
        values = tuple(self.value_of(x.data if isinstance(x, Tensor) else x) for x in inputs)
        if any(type(a) is Value for a in values):
            y = output.data
            tensors = {i: x for i, x in enumerate(inputs) if isinstance(x, Tensor) and type(values[i]) is not Value}
            self._known[id(y)] = weakref.ref(y), Value(len(self.steps))
            self.steps.append(Step(primitive.name, _only_output(primitive.forward), values, y.shape, params, tensors))


def _only_output(rule):
    return lambda *arrays, **params: np.asarray(rule(*arrays, **params)[0])
