"""Products that are joined, and read by nobody else, stored where they are joined: nothing is copied."""
import dataclasses

import numpy as np

from tinyq.inference.fuse import PRODUCT
from tinyq.inference.record import Step, Value

ROOM = -2                   # Values from here downwards: ROOM - i is the array that concatenation i fills


def join(steps, readers):
    """[(Value, step, first channel or None)] of the steps that are there, in order.

    Where every input of a concatenation along the channels is a convolution that it alone reads, their array is made
    by a step of its own, and each of them has it as its last input, to be filled from the channel named on.
    readers: {Value: the numbers of the steps that read it}.
    """
    joined = {i: step for i, step in enumerate(steps) if step and _is_join(i, step, steps, readers)}
    place = {a: (i, first) for i, step in joined.items() for a, first in _firsts(step, steps)}
    made, listed = set(), []
    for i, step in enumerate(steps):
        if i in joined:
            step = dataclasses.replace(step, run=lambda room, *parts: room, params={}, inputs=(_room(i), *step.inputs))
        target, first = place.get(Value(i), (None, None))
        if target is not None:
            if target not in made:
                made.add(target)
                listed.append((_room(target), _allocation(steps[target].shape), None))
            step = dataclasses.replace(step, inputs=(*step.inputs, _room(target)))
        if step:
            listed.append((Value(i), step, first))
    return listed


def _room(number):
    return Value(ROOM - number)


def _is_join(number, step, steps, readers):
    if step.name != "concatenate" or step.params.get("axis") != 1:
        return False
    makers = [steps[a.step] if type(a) is Value and a.step >= 0 else None for a in step.inputs]
    return all(maker and maker.name == PRODUCT and maker.params["options"] is not None and readers[a] == [number]
               for a, maker in zip(step.inputs, makers, strict=True))


def _firsts(step, steps):
    """(Value, its first channel) of each input of a concatenation."""
    first = 0
    for a in step.inputs:
        yield a, first
        first += steps[a.step].shape[1]


def _allocation(shape):
    return Step("allocate", lambda x: np.empty(shape, x.dtype), (Value(-1),), shape)
