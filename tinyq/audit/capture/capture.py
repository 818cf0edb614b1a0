"""Capture one step: inputs and outputs of every primitive and vjp, and the state before and after."""
import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinyq import kernels
from tinyq.audit.capture.step_trace import Call, Trace, parameter_of
from tinyq.autodiff.primitives import Primitive
from tinyq.autodiff.tape import Node
from tinyq.autodiff.tensors import Tensor
from tinyq.data import Batch
from tinyq.nn import Module
from tinyq.optim import Optimizer
from tinyq.run.checkpoint import Position
from tinyq.run.phases import Phase


@dataclass(frozen=True, eq=False)
class Application:
    """One application of a primitive. vjps: {position of the input: (incoming gradient, gradient at the input)}."""

    name: str                           # such as "conv2d of conv2.weight"
    primitive: Primitive[Any]
    inputs: tuple[Any, ...]
    params: dict[str, Any]
    output: np.ndarray
    vjps: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Captured:
    """A whole step. before, after: {dotted name: array} of parameters and buffers."""

    step: int
    epoch: int                                      # of the run, from 0: the key of its random numbers
    batch: int                                      # in the epoch, from 0
    phase: Phase
    batches: list[Batch]
    model: Module
    applications: list[Application]
    calls: list[Call]                               # digested primitives, in order
    vjp_calls: list[Call]                           # digested vjps, in order
    backpropagated: dict[str, np.ndarray]           # gradient of each parameter, before the method changed it
    handed: dict[str, np.ndarray]                   # gradient of each parameter, as given to the optimiser
    before: dict[str, np.ndarray]
    after: dict[str, np.ndarray]
    memory_before: dict[str, dict[str, Any]]        # the optimiser's arrays and numbers of each parameter
    memory_after: dict[str, dict[str, Any]]
    groups: dict[str, dict[str, Any]]               # hyper-parameters of each parameter's update
    parametrizations: dict[str, Any]                # of each parameter during the step, or None


class Capture(Trace):
    """Fill a Captured while its step runs; copy every array that the step may still change."""

    def __init__(self, model: Module, optimizer: Optimizer) -> None:
        """Copy the state before the step."""
        super().__init__(model, optimizer)
        self.model, self.optimizer = model, optimizer
        self._parameters = dict(model.named_parameters())
        self._before, self._memory = model.state_dict(), self._memories()
        self._parametrizations: dict[str, Any] = {}
        self._groups = {name: {k: v for k, v in group.items() if k != "params"} for group in optimizer.groups
                        for name, p in self._parameters.items() if any(p is q for q in group["params"])}
        self._applications: list[Application] = []
        self._of_node: dict[Node, Application] = {}
        self._sums: dict[Tensor, np.ndarray] = {}
        self._arriving: dict[Tensor, np.ndarray] = {}
        self._latest = -1

    def note(self, primitive: Primitive[Any], inputs: tuple[Any, ...], params: dict[str, Any], output: Tensor) -> Call:
        """Keep the application."""
        call = super().note(primitive, inputs, params, output)
        self._parametrizations = self._parametrizations or {
            name: p.parametrization for name, p in self._parameters.items()}
        kept = tuple(map(self._kept, inputs))
        name = f"{primitive.name} of {call.about}" if call.about else primitive.name
        self._applications.append(Application(name, primitive, kept, params, output.data))
        if output.node is not None:
            self._of_node[output.node] = self._applications[-1]
        return call

    def _kept(self, x):
        """Return the array of an input. For a parameter this is the copy made before the step, which changes it."""
        if not isinstance(x, Tensor):
            return x
        parameter = parameter_of(x)
        is_own = parameter in self._names and x.data is parameter.data
        return self._before[self._names[parameter]] if is_own else x.data

    def note_vjp(self, node: Node, position: int, parent: Node | Tensor, g: np.ndarray, gx: np.ndarray) -> None:
        """Keep the vjp, and sum the gradients of each parameter in the order of the tape."""
        super().note_vjp(node, position, parent, g, gx)
        gx = gx if isinstance(parent, Node) else gx.copy()          # a method may add to a leaf's gradient in place
        self._of_node[node].vjps[position] = g, gx
        if node.number > self._latest:                              # numbers fall within one backward pass
            self._close_backward()
        self._latest = node.number
        if not isinstance(parent, Node):
            self._arriving[parent] = kernels.add(self._arriving[parent], gx) if parent in self._arriving else gx

    def finished(self, phase: Phase, position: Position, batches: Sequence[Batch]) -> Captured:
        """Return the step; call this after its end."""
        self._close_backward()
        names: dict[Tensor, str] = {p: name for name, p in self._parameters.items()}
        return Captured(
            position.steps + 1, phase.first_epoch + position.epoch, position.batch, phase, list(batches), self.model,
            self._applications, self.calls, self.vjps,
            {names[p]: g for p, g in self._sums.items() if p in names},
            {name: p.grad.copy() for name, p in self._parameters.items() if p.grad is not None},
            self._before, self.model.state_dict(), self._memory, self._memories(), self._groups, self._parametrizations)

    def _close_backward(self):
        for leaf, gradient in self._arriving.items():
            self._sums[leaf] = kernels.add(self._sums[leaf], gradient) if leaf in self._sums else gradient
        self._arriving = {}

    def _memories(self):
        return {name: copy.deepcopy(self.optimizer.memory_of(p)) for name, p in self._parameters.items()}
