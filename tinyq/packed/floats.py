"""The packed network with float32 activations: the bits of the trained network's own evaluation."""
import numpy as np

from tinyq.inference.fuse import PRODUCT
from tinyq.inference.fused import Program
from tinyq.inference.product import prepare, ready
from tinyq.inference.record import Step, Value
from tinyq.packed.format import Packed
from tinyq.packed.graph import Constant
from tinyq.packed.operations import OPERATIONS, conv_options


class FloatNetwork:
    """A function of a batch (n, ...) float32."""

    def __init__(self, packed: Packed):
        """Take the network."""
        self.packed, self._programs, self._steps, self._weights = packed, {}, {}, {}

    def __call__(self, x):
        """The logits (n, classes)."""
        return self._program(x.shape)(np.ascontiguousarray(x, np.float32))

    def values(self, x):
        """(number, array) of the input and of each node in turn, the array the caller's until the next is asked for."""
        yield -1, x
        for value, array in self._program(x.shape).values(np.ascontiguousarray(x, np.float32)):
            yield value.step, array

    def node(self, number, values):
        """The output of one node; values: those it reads, by number."""
        node = self.packed.graph.nodes[number]
        x = next(values[a] for a in node.inputs if isinstance(a, int))
        key = number, len(x)
        if key not in self._steps:
            step = self._step(node, len(x))
            self._steps[key] = prepare(step, x.shape) if step.name == PRODUCT else step
        step = self._steps[key]
        return step.run(*(values[a.step] if type(a) is Value else a for a in step.inputs), **step.params)

    def _program(self, shape):
        if shape not in self._programs:
            nodes = self.packed.graph.nodes
            steps = [self._step(node, shape[0]) for node in nodes]
            self._programs[shape] = Program(steps, Value(len(nodes) - 1), shape)
        return self._programs[shape]

    def _step(self, node, n):
        inputs, shape = tuple(map(self._input, node.inputs)), (n, *node.shape)
        if node.weight is None:
            params = OPERATIONS[node.operation].from_json(node.params)
            return Step(node.operation, _rule_of(node.operation), inputs, shape, params)
        tensor, options = self.packed.tensors[node.weight.name], node.params["options"]
        params = {"options": None if options is None else conv_options(options), "relu": node.params["relu"]}
        if node.weight.name not in self._weights:           # for all shapes of input
            self._weights[node.weight.name] = ready(tensor.bare(), params["options"], tensor.levels)
        weights = self._weights[node.weight.name]
        return Step(PRODUCT, None, (inputs[0], weights, *tensor.affine, *inputs[1:]), shape, params)

    def resident_bytes(self) -> int:
        """Of all weights as they are kept, once a batch was seen."""
        return sum(w.packed.nbytes for w in self._weights.values()) + sum(
            t.affine.nbytes for t in self.packed.tensors.values())

    def _input(self, a):
        if isinstance(a, Constant):
            return self.packed.constants[a.name]
        return None if a is None else Value(a)


def _rule_of(name):
    from tinyq.autodiff.primitives import PRIMITIVES

    rule = PRIMITIVES[name].rule
    return lambda *arrays, **params: np.asarray(rule(*arrays, **params)[0])
