"""Record a network's evaluation as the graph of a packed file."""
from typing import TypeAlias

import numpy as np

from tinyq.autodiff import Tensor
from tinyq.errors import UsageError
from tinyq.inference.fuse import fuse
from tinyq.inference.record import record
from tinyq.inference.steps import Value
from tinyq.nn import Module
from tinyq.packed.file.graph import Constant, Graph, Node, Weight
from tinyq.packed.file.operations import OPERATIONS, PRODUCT, conv_json

# (w, scale, shift, the Parameter whose effective weight w is if that is quantised, else None)
RecordedWeight: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray, Tensor | None]


def record_graph(model: Module,
                 input_shape: tuple[int, ...]) -> tuple[Graph, dict[str, RecordedWeight], dict[str, np.ndarray]]:
    """Return (Graph, {weight name: (w, scale, shift, parameter)}, {constant name: array}) of a model's evaluation.

    parameter: the Parameter whose effective weight w is if that is quantised, None otherwise. UsageError where the
    network does something a packed file cannot hold.
    """
    names = {parameter: name.removesuffix(".weight") for name, parameter in model.named_parameters()}
    recorded = []
    for n in (2, 3):                                    # what depends on the batch's size shows
        steps, result = record(model, np.zeros((n, *input_shape), np.float32))
        if not steps or not isinstance(result, Value):
            raise UsageError("the network's output does not depend on its input")
        recorded.append(_Builder(input_shape, names).build(fuse(steps, result, (n, *input_shape)), result))
    (graph, weights, constants), (other, _, others) = recorded
    same = graph == other and all(np.array_equal(constants[name], others[name], equal_nan=True) for name in constants)
    if not same:
        raise UsageError("the network computes different operations for different batch sizes; a packed file needs "
                         "the same for all")
    return graph, weights, constants


class _Builder:
    def __init__(self, input_shape, names):
        self.input_shape, self.names = tuple(input_shape), names
        self.nodes, self.weights, self.constants, self.numbers = [], {}, {}, {-1: -1}

    def build(self, steps, result):
        for i, step in enumerate(steps):
            if step:
                self.nodes.append(self._product(step) if step.name == PRODUCT else self._other(step))
                self.numbers[i] = len(self.nodes) - 1
        if self.numbers.get(result.step) != len(self.nodes) - 1:
            raise UsageError("the network computes something after its output; a packed file needs the output last")
        return Graph(self.input_shape, tuple(self.nodes)), self.weights, self.constants

    def _product(self, step):
        x, w, scale, shift, *added = step.inputs
        tensor = step.tensors.get(1)
        quantised = None if tensor is None else tensor.parameter
        name = self.names.get(tensor if quantised is None else quantised)
        if name is None or name in self.weights:                                # a weight may be used twice
            name = f"product{len(self.weights)}"
        weight = Weight(name, w.shape)
        self.weights[name] = w, scale, shift, quantised
        options = step.params["options"]
        params = {"options": None if options is None else conv_json(options), "relu": step.params["relu"]}
        inputs = (self._input(x), *map(self._input, added))
        return Node(PRODUCT, inputs, params, tuple(step.shape[1:]), weight)

    def _other(self, step):
        name = "reshape" if step.name == "flatten" and step.params.get("start", 0) != 1 else step.name
        if name not in OPERATIONS:
            raise UsageError(f"the network computes {name}, which a packed file cannot hold")
        inputs = tuple(map(self._input, step.inputs))
        try:
            params = OPERATIONS[name].to_json(step.params, step.shape)
            OPERATIONS[name].from_json(params)
            shape = OPERATIONS[name].shape([self._shape(a) for a in inputs if a is not None], params)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise UsageError(f"a packed file cannot hold this {name} of the network ({error})") from error
        if tuple(shape) != tuple(step.shape[1:]):
            raise UsageError(f"the network's {name} depends on the size of the batch")
        return Node(name, inputs, params, tuple(shape))

    def _input(self, a):
        if a is None:
            return None
        if not isinstance(a, np.ndarray):
            return self.numbers[a.step]
        constant = Constant(f"constant{len(self.constants)}", a.shape)
        self.constants[constant.name] = a
        return constant

    def _shape(self, a):
        if isinstance(a, Constant):
            return a.sample_shape
        return self.input_shape if a == -1 else self.nodes[a].shape
