"""Represent a network as data: the steps of its evaluation (tinyq.inference), for any batch size."""
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from tinyq.autodiff import Tensor
from tinyq.errors import UsageError
from tinyq.nn import Module
from tinyq.packed.file.operations import OPERATIONS, PRODUCT, conv_json

# (w, scale, shift, the Parameter whose effective weight w is if that is quantised, else None)
RecordedWeight: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray, Tensor | None]


@dataclass(frozen=True)
class Weight:
    """Name and shape of the tensor that holds a product's weights."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Constant:
    """Name and shape of an array that the file stores."""

    name: str
    shape: tuple[int, ...]

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape per sample: `shape` without its first axis, if that is a batch axis of 1."""
        return self.shape[1:] if len(self.shape) > 1 and self.shape[0] == 1 else self.shape


@dataclass(frozen=True)
class Node:
    """One step. inputs: the network's input (-1), numbers of earlier nodes, Constants, None. shape: per sample."""

    operation: str
    inputs: tuple
    params: dict                        # JSON of the operation; for a product: options (or None) and relu
    shape: tuple[int, ...]
    weight: Weight | None = None        # of a product; its second input, if any, is added to it

    @property
    def label(self) -> str:
        """Name of the layer with its kind, as "conv1 (Conv2d)"; of a node without weights the operation."""
        if self.weight is None:
            return self.operation
        return f"{self.weight.name} ({'Linear' if self.params['options'] is None else 'Conv2d'})"

    @property
    def product_weight(self) -> Weight:
        """The weight of a node that is a product."""
        assert self.weight is not None, self.operation
        return self.weight


@dataclass(frozen=True)
class Graph:
    """Nodes in order of computation; the last is the result."""

    input_shape: tuple[int, ...]
    nodes: tuple[Node, ...]

    def shape_of(self, number: int) -> tuple[int, ...]:
        """Return the shape of a value per sample; -1 is the input."""
        return self.input_shape if number == -1 else self.nodes[number].shape

    def label_of(self, number: int) -> str:
        """Name a value for a message: by the layer or the operation that computes it; -1 is the input."""
        return "the input" if number == -1 else self.nodes[number].label

    def products(self) -> "list[Node]":
        """Return the nodes that have weights."""
        return [node for node in self.nodes if node.weight]


def record_graph(model: Module,
                 input_shape: tuple[int, ...]) -> tuple[Graph, dict[str, RecordedWeight], dict[str, np.ndarray]]:
    """Return (Graph, {weight name: (w, scale, shift, parameter)}, {constant name: array}) of a model's evaluation.

    parameter: the Parameter whose effective weight w is if that is quantised, None otherwise. UsageError where the
    network does something a packed file cannot hold.
    """
    from tinyq.inference.fuse import fuse
    from tinyq.inference.record import Value, record

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
