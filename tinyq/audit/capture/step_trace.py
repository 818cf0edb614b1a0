"""Trace a step: its primitives and vjps in order, and the parameter that each one uses."""
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinyq.autodiff.primitives import Primitive
from tinyq.autodiff.tape import Node
from tinyq.autodiff.tensors import Tensor
from tinyq.nn import Module
from tinyq.optim import Optimizer


@dataclass(frozen=True)
class Call:
    """One application of a primitive, or one of its vjps."""

    primitive: str
    about: str                          # the parameter that enters it, or ""
    inputs: tuple
    output: tuple[int, ...]
    position: int | None = None         # for a vjp: number of the input whose gradient it makes
    between: tuple[str, ...] = ()       # undigested primitives since the last digested call
    behind: tuple[str, ...] = ()        # undigested primitives up to the pooling whose output is digested instead

    def __str__(self) -> str:
        """Describe the call, as in "conv2d, relu, max_pool2d of conv2.weight, output (16, 6, 14, 14)"."""
        about = f" of {self.about}" if self.about else ""
        what = "output" if self.position is None else f"gradient at input {self.position}"
        before = f" (or {', '.join(self.between)} just before)" if self.between else ""
        vjp = "" if self.position is None else "the vjp of "
        primitives = ", ".join([self.primitive, *self.behind])
        return f"{vjp}{primitives}{about}, {what} {tuple(self.output)}{before}"


# Primitives that move as many bytes as a product but compute almost nothing: digesting their results would double the
# cost of the ledger. A fault in one of them shows in the next digested primitive, whose name then includes them.
POOLING = frozenset(("max_pool2d", "avg_pool2d", "adaptive_avg_pool2d"))
PASSED_OVER = frozenset(("relu", "reshape", "flatten", *POOLING))


class LatestOutput:
    """The latest output to digest. A pooling of it, or of its ReLU, takes its place: fewer numbers to digest.

    What a maximum drops reaches neither the loss nor a gradient.
    """

    def __init__(self) -> None:
        """Begin without an output."""
        self.array: np.ndarray | None = None
        self._end: Tensor | None = None

    def begin(self, output: Tensor) -> None:
        """Take the output of a digested primitive."""
        self.array, self._end = output.data, output

    def follow(self, primitive: Primitive[Any], inputs: tuple[Any, ...], output: Tensor) -> bool:
        """Follow a primitive that is passed over; return True if its output takes the place of the latest one."""
        if inputs[0] is not self._end:
            return False
        self._end, pools = output, primitive.name in POOLING
        if pools:
            self.array = output.data
        return pools

    def take(self) -> np.ndarray | None:
        """Return the array, None where there is none, and forget it."""
        array, self.array, self._end = self.array, None, None
        return array


def is_digested(primitive: Primitive[Any]) -> bool:
    """Return True if the ledger digests this primitive's output."""
    return primitive.name not in PASSED_OVER


def is_vjp_digested(node: Node, parent: Node | Tensor) -> bool:
    """Return True if the ledger digests this vjp's gradient; a parameter's gradient is digested separately."""
    return isinstance(parent, Node) and is_digested(node.primitive)


def parameter_of(x: Tensor) -> Tensor:
    """Return the parameter of a Tensor that is an effective weight, and any other Tensor itself."""
    return x if x.parameter is None else x.parameter


class Trace:
    """The calls of a step that the ledger digests, each named by the parameter or effective weight that enters it."""

    def __init__(self, model: Module, optimizer: Optimizer) -> None:
        """Begin before the first call."""
        self.calls: list[Call] = []
        self.vjps: list[Call] = []
        parameters = list(model.named_parameters())
        self._names: dict[Tensor, str] = {p: name for name, p in parameters}
        self._latents = {p for _, p in parameters if p.parametrization is not None}
        self._latest_output = LatestOutput()
        self._between: list[str] = []
        self._vjps_between: list[str] = []
        self._nodes: dict[Node, Call] = {}

    def note(self, primitive: Primitive[Any], inputs: tuple[Any, ...], params: dict[str, Any], output: Tensor) -> Call:
        """Receive a primitive from tape.traced; return its call."""
        entering = [parameter_of(x) for x in inputs if isinstance(x, Tensor)]
        about = next((self._names[p] for p in entering if p in self._names), "")
        quantises = any(x in self._latents for x in inputs[:1] if isinstance(x, Tensor))   # a weight, before its layer
        shapes = tuple(None if a is None else a.shape for a in inputs)
        between = () if quantises else tuple(self._between)
        call = Call(primitive.name, about, shapes, output.shape, None, between)
        if is_digested(primitive):
            self.calls.append(call)
            self._latest_output.begin(output)
            self._between = self._between if quantises else []
        else:
            self._between.append(primitive.name)
            if self._latest_output.follow(primitive, inputs, output):
                self.calls[-1] = replace(self.calls[-1], output=output.shape,
                                         behind=(*self.calls[-1].behind, *self._between))
                self._between = []
        if output.node is not None:
            self._nodes[output.node] = call
        return call

    def note_vjp(self, node: Node, position: int, parent: Node | Tensor, g: np.ndarray, gx: np.ndarray) -> None:
        """Receive a vjp from tape.traced_vjps."""
        if not is_vjp_digested(node, parent):
            if not is_digested(node.primitive):
                self._vjps_between.append(node.primitive.name)
            return
        call, between, self._vjps_between = self._nodes.get(node), tuple(self._vjps_between), []
        self.vjps.append(Call(node.primitive.name, call.about if call else "", call.inputs if call else (),
                               gx.shape, position, between))
