"""Let convolutions write straight into the concatenation of their outputs, so that nothing is copied."""
import dataclasses
from collections.abc import Sequence

import numpy as np

from tinyq.inference.steps import PRODUCT, Step, Value

BUFFER = -2                 # Value(BUFFER - i) is the output buffer of concatenation i


def join(steps: Sequence[Step | None], readers: dict[Value, list[int]]) -> list[tuple[Value, Step, int | None]]:
    """Return [(Value, step, first channel or None)] in order, without the steps that are None.

    If all inputs of a concatenation along the channels are convolutions that nothing else reads, a step of its own
    allocates the output buffer. Each convolution receives the buffer as its last input and writes its channels
    beginning at `first channel`. readers: {Value: numbers of the steps that read it}.
    """
    joined = {i: step for i, step in enumerate(steps) if step and _is_join(i, step, steps, readers)}
    place = {a: (i, first) for i, step in joined.items() for a, first in _firsts(step, steps)}
    made: set[int] = set()
    listed: list[tuple[Value, Step, int | None]] = []
    for i, step in enumerate(steps):
        if step is None:
            continue
        if i in joined:
            step = dataclasses.replace(step, run=lambda buffer, *parts: buffer, params={},
                                       inputs=(_buffer(i), *step.inputs))
        target, first = place.get(Value(i), (None, None))
        if target is not None:
            if target not in made:
                made.add(target)
                listed.append((_buffer(target), _allocation(joined[target].shape), None))
            step = dataclasses.replace(step, inputs=(*step.inputs, _buffer(target)))
        listed.append((Value(i), step, first))
    return listed


def _buffer(number):
    return Value(BUFFER - number)


def _is_join(number, step, steps, readers):
    if step.name != "concatenate" or step.params.get("axis") != 1:
        return False
    makers = [steps[a.step] if type(a) is Value and a.step >= 0 else None for a in step.inputs]
    return all(maker and maker.name == PRODUCT and maker.params["options"] is not None and readers[a] == [number]
               for a, maker in zip(step.inputs, makers, strict=True))


def _firsts(step, steps):
    """Yield (Value, first channel) for each input of a concatenation."""
    first = 0
    for a in step.inputs:
        yield a, first
        first += steps[a.step].shape[1]


def _allocation(shape):
    return Step("allocate", lambda x: np.empty(shape, x.dtype), (Value(-1),), shape)
