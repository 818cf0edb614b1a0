"""A network's evaluation as a list of steps: what its primitives did with one batch, in order."""
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tinyq.autodiff import Tensor, no_record, tape


@dataclass(frozen=True)
class Value:
    """An array that depends on the network's input; the number is the step that makes it, -1 the input itself."""

    step: int


@dataclass(eq=False)
class Step:
    """One application of a function of arrays. inputs: Values, constant arrays and None.

    tensors: the constants that came as Tensors, by position: a Parameter or its effective weight as itself.
    """

    name: str
    run: Callable | None                # None for a product until it is prepared
    inputs: tuple
    shape: tuple[int, ...]              # of what it makes
    params: dict = field(default_factory=dict)
    tensors: dict[int, Tensor] = field(default_factory=dict)


def record(model, x):
    """(steps, Value of the result) of model(Tensor(x)) in evaluation mode; modes are restored.

    What does not depend on x is a constant. The steps hold for x's shape: a network may read sizes off its input.
    """
    recorder = _Recorder(x)
    modes = [(module, module.training) for _, module in model.named_modules()]
    try:
        with no_record(), tape.traced(recorder.note), np.errstate(all="ignore"):
            y = model.eval()(Tensor(x))
    finally:
        for module, training in modes:
            module.training = training
    return recorder.steps, recorder.value_of(y.data)


class _Recorder:
    """Knows arrays by identity: a Tensor made of another's array is the same value."""

    def __init__(self, x):
        self.steps, self._known = [], {id(x): (weakref.ref(x), Value(-1))}

    def value_of(self, array):
        """The Value that an array is, or the array itself; none is kept alive, so that a new one may have an old id."""
        known, value = self._known.get(id(array), (lambda: None, None))
        return value if array is not None and known() is array else array

    def note(self, primitive, inputs, params, output):
        """Add a step if one of the primitive's inputs depends on the network's."""
        values = tuple(self.value_of(x.data if isinstance(x, Tensor) else x) for x in inputs)
        if any(type(a) is Value for a in values):
            y = output.data
            tensors = {i: x for i, x in enumerate(inputs) if isinstance(x, Tensor) and type(values[i]) is not Value}
            self._known[id(y)] = weakref.ref(y), Value(len(self.steps))
            self.steps.append(Step(primitive.name, _only_output(primitive.forward), values, y.shape, params, tensors))


def _only_output(rule):
    return lambda *arrays, **params: np.asarray(rule(*arrays, **params)[0])
