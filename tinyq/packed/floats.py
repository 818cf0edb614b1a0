"""The packed network with float32 activations: the bits of the trained network's own evaluation."""
import numpy as np

from tinyq.inference.fuse import PRODUCT
from tinyq.inference.fused import Program
from tinyq.inference.record import Step, Value
from tinyq.packed.format import Packed
from tinyq.packed.graph import Constant
from tinyq.packed.operations import OPERATIONS, conv_options


class FloatNetwork:
    """A function of a batch (n, ...) float32."""

    def __init__(self, packed: Packed):
        """Take the network; weights stay packed until a shape of input is met."""
        self.packed, self._programs = packed, {}

    def __call__(self, x):
        """The logits (n, classes)."""
        if x.shape not in self._programs:
            nodes = self.packed.graph.nodes
            steps = [self._step(node, len(x)) for node in nodes]
            self._programs[x.shape] = Program(steps, Value(len(nodes) - 1), x.shape)
        return self._programs[x.shape](np.ascontiguousarray(x, np.float32))

    def _step(self, node, n):
        inputs, shape = tuple(map(self._input, node.inputs)), (n, *node.shape)
        if node.weight is None:
            params = OPERATIONS[node.operation].from_json(node.params)
            return Step(node.operation, _rule_of(node.operation), inputs, shape, params)
        tensor, options = self.packed.tensors[node.weight.name], node.params["options"]
        params = {"options": None if options is None else conv_options(options), "relu": node.params["relu"]}
        return Step(PRODUCT, None, (inputs[0], tensor.bare(), *tensor.affine, *inputs[1:]), shape, params)

    def _input(self, a):
        if isinstance(a, Constant):
            return self.packed.constants[a.name]
        return None if a is None else Value(a)


def _rule_of(name):
    from tinyq.autodiff.primitives import PRIMITIVES

    rule = PRIMITIVES[name].rule
    return lambda *arrays, **params: np.asarray(rule(*arrays, **params)[0])
