"""Trace a step: its primitives and vjps in order, and the parameter that each one uses."""
from dataclasses import dataclass
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

    def __str__(self) -> str:
        """Describe the call, as in "conv2d of conv2.weight, output (16, 6, 28, 28) (or relu just before)"."""
        about = f" of {self.about}" if self.about else ""
        what = "output" if self.position is None else f"gradient at input {self.position}"
        before = f" (or {', '.join(self.between)} just before)" if self.between else ""
        vjp = "" if self.position is None else "the vjp of "
        return f"{vjp}{self.primitive}{about}, {what} {tuple(self.output)}{before}"


# Primitives that move as many bytes as a product but compute almost nothing: digesting their results would double the
# cost of the ledger. A fault in one of them shows in the next digested primitive, whose name then includes them.
PASSED_OVER = ("relu", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "reshape", "flatten")


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
        if not is_digested(primitive):
            self._between.append(primitive.name)
        else:
            self.calls.append(call)
            self._between = self._between if quantises else []
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
