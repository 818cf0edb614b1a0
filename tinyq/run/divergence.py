"""Find the operation that made the first NaN or infinity of a step."""
from collections.abc import Callable, Sequence

import numpy as np

from tinyq.autodiff.tape import traced, traced_vjps
from tinyq.data import Batch
from tinyq.errors import TinyqError
from tinyq.nn import Module


def first_in(model: Module, batches: Sequence[Batch], step: Callable[[], object]) -> str:
    """Name what is not finite first: an input, a weight, or an operation's output or gradient when step() is repeated.

    step() must fail before it changes a weight.
    """
    inputs = [(f"batch {i}", batch.x) for i, batch in enumerate(batches)]
    for name, array in inputs + [(name, parameter.data) for name, parameter in model.named_parameters()]:
        if where := _first(array):
            return f"{name} {where}"
    try:
        with traced(_judge_output), traced_vjps(_judge_gradient):
            step()
    except _Found as found:
        return str(found)
    except TinyqError:
        pass
    return "the sum over all"


class _Found(Exception):
    """Report of the operation and the element that are not finite."""


def _judge_output(primitive, arrays, params, output):
    if where := _first(output.data):
        raise _Found(f"the output of {primitive.name} {where}")


def _judge_gradient(node, position, parent, g, gx):
    if where := _first(gx):
        raise _Found(f"the gradient at input {position} of {node.primitive.name} {where}")


def _first(array: np.ndarray) -> str:
    bad = np.flatnonzero(~np.isfinite(array))
    if not bad.size:
        return ""
    index = tuple(map(int, np.unravel_index(bad[0], np.shape(array))))
    return f"at {index} of shape {np.shape(array)}, and at {bad.size - 1} others"
