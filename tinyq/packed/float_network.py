"""Run a packed network with float32 activations; the logits have the bits of the trained network's evaluation."""
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from tinyq.inference.fused_product import prepare, ready
from tinyq.inference.fused_program import Program
from tinyq.inference.steps import PRODUCT, Step, Value
from tinyq.packed.file.format import Packed
from tinyq.packed.file.graph import Constant
from tinyq.packed.file.operations import OPERATIONS, conv_options


class FloatNetwork:
    """A function from a batch (n, ...) float32 to the logits. It keeps the weights only in the form its kernels read.

    The program is prepared for one batch size at a time; a batch of another size replaces it.
    """

    def __init__(self, packed: Packed, numbers: Iterable[int] | None = None) -> None:
        """Prepare the weights. numbers: the nodes to compute, all by default."""
        self.graph, self._constants = packed.graph, packed.constants
        computed = range(len(packed.graph.nodes)) if numbers is None else numbers
        nodes = {number: packed.graph.nodes[number] for number in computed}
        self._weights = {number: _Weights(packed.tensors[node.weight.name], node)
                         for number, node in nodes.items() if node.weight}
        self._shape: tuple[int, ...] | None = None
        self._program: Program | None = None
        self._samples: int | None = None
        self._steps: dict[int, Step] = {}

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Compute the logits (n, classes)."""
        return self._program_for(x.shape)(np.ascontiguousarray(x, np.float32))

    def values(self, x: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (number, array) for the input, number -1, and for each node; an array is valid until the next one."""
        yield -1, x
        for value, array in self._program_for(x.shape).values(np.ascontiguousarray(x, np.float32)):
            yield value.step, array

    def node(self, number: int, values: Mapping[int, np.ndarray]) -> np.ndarray:
        """Compute the output of one node; values: {number: array} of the values it reads."""
        x = next(values[a] for a in self.graph.nodes[number].inputs if isinstance(a, int))
        if len(x) != self._samples:
            self._samples, self._steps = len(x), {}
        if number not in self._steps:
            self._steps[number] = prepare(self._step(number, len(x)), x.shape)
        step = self._steps[number]
        assert step.run is not None
        return step.run(*(values[a.step] if type(a) is Value else a for a in step.inputs), **step.params)

    @property
    def resident_bytes(self) -> int:
        """Bytes of the weights, their affines and the constants."""
        return sum(w.nbytes for w in self._weights.values()) + sum(a.nbytes for a in self._constants.values())

    def _program_for(self, shape):
        if shape != self._shape:
            steps = [self._step(number, shape[0]) for number in range(len(self.graph.nodes))]
            self._shape, self._program = shape, Program(steps, Value(len(steps) - 1), shape)
        return self._program

    def _step(self, number, n):
        node = self.graph.nodes[number]
        inputs, shape = tuple(map(self._input, node.inputs)), (n, *node.shape)
        if node.weight is None:
            params = OPERATIONS[node.operation].from_json(node.params)
            return Step(node.operation, _rule_of(node.operation, shape), inputs, shape, params)
        params, weights = {"options": _options(node), "relu": node.params["relu"]}, self._weights[number]
        return Step(PRODUCT, None, (inputs[0], weights.ready, *weights.affine, *inputs[1:]), shape, params)

    def _input(self, a):
        if isinstance(a, Constant):
            return self._constants[a.name]
        return None if a is None else Value(a)


class _Weights:
    """Weights of a product, packed for the kernels, and its affine (2, rows)."""

    def __init__(self, tensor, node):
        self.ready = ready(tensor.unscaled(), _options(node), node.shape[1:], tensor.levels)
        self.affine = tensor.affine
        self.nbytes = self.ready.packed.nbytes + self.affine.nbytes


def _options(node):
    """Return the keyword arguments of a convolution, or None for a linear layer."""
    return None if node.params["options"] is None else conv_options(node.params["options"])


def _rule_of(name, shape):
    """Return the function of an operation without weights; the primitives are imported when one of them is needed."""
    if name in ("flatten", "reshape"):
        return lambda x, **params: x.reshape(shape)

    def rule(*arrays, **params):
        from tinyq.autodiff.primitives import PRIMITIVES

        return np.asarray(PRIMITIVES[name].forward(*arrays, **params)[0])
    return rule
