"""Everything of one step: what every primitive was given and made, every vjp, and the state before and after."""
from dataclasses import dataclass, field

import numpy as np

from tinyq import kernels
from tinyq.audit.capture.step_trace import Trace, parameter_of
from tinyq.autodiff.primitives import Primitive
from tinyq.autodiff.tape import Node
from tinyq.autodiff.tensors import Tensor
from tinyq.data import Batch
from tinyq.nn import Module
from tinyq.run.build import Phase


@dataclass(frozen=True, eq=False)
class Application:
    """One application of a primitive. vjps: {position of the input: (g, what the vjp made of it)}."""

    name: str                           # such as "conv2d of conv2.weight"
    primitive: Primitive
    inputs: tuple
    params: dict
    output: np.ndarray
    vjps: dict = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Captured:
    """A step, all of it. State: {dotted name: array} of parameters and buffers; memory: lists of arrays."""

    step: int
    epoch: int                                      # of the run, and the batch in it
    batch: int
    phase: Phase
    batches: list[Batch]
    model: Module
    applications: list[Application]
    backpropagated: dict[str, np.ndarray]           # what the vjps brought to each parameter, before the method's part
    handed: dict[str, np.ndarray]                   # the gradient that the optimiser was given
    before: dict[str, np.ndarray]
    after: dict[str, np.ndarray]
    memory_before: dict[str, dict]                  # of each parameter: arrays and numbers
    memory_after: dict[str, dict]
    groups: dict[str, dict]                         # the hyper-parameters each parameter was updated with
    views: dict                                     # of each parameter, as the layers saw it

    @property
    def auxiliary(self) -> bool:
        """Return True if auxiliary heads add to the loss."""
        return sum(a.primitive.name == "softmax_cross_entropy" for a in self.applications) > len(self.batches)


class Capture(Trace):
    """Fills a Captured while its step is made; nothing that the step may still change is kept without a copy."""

    def __init__(self, model, optimizer):
        """Copy the state."""
        super().__init__(model, optimizer)
        self.model, self.optimizer = model, optimizer
        self._parameters = dict(model.named_parameters())
        self._before, self._memory = model.state_dict(), self._memories()
        self._views = {}
        self._groups = {name: {k: v for k, v in group.items() if k != "params"} for group in optimizer.groups
                        for name, p in self._parameters.items() if any(p is q for q in group["params"])}
        self._applications, self._of_node, self._sums, self._arriving, self._latest = [], {}, {}, {}, -1

    def note(self, primitive, inputs, params, output):
        """Keep the application."""
        about = super().note(primitive, inputs, params, output).about
        self._views = self._views or {name: p.parametrization for name, p in self._parameters.items()}
        kept = tuple(map(self._kept, inputs))
        name = f"{primitive.name} of {about}" if about else primitive.name
        self._applications.append(Application(name, primitive, kept, params, output.data))
        if output.node is not None:
            self._of_node[output.node] = self._applications[-1]

    def _kept(self, x):
        """An input's array; the copy from before the step where it is a parameter's own, which the step changes."""
        parameter = parameter_of(x)
        if parameter in self._names and x.data is parameter.data:
            return self._before[self._names[parameter]]
        return x.data if isinstance(x, Tensor) else x

    def note_vjp(self, node, position, parent, g, gx):
        """Keep the vjp, and add up what reaches a parameter in the tape's own order."""
        super().note_vjp(node, position, parent, g, gx)
        leaf = not isinstance(parent, Node)
        gx = gx.copy() if leaf else gx                              # a method may add to a leaf's gradient in place
        self._of_node[node].vjps[position] = g, gx
        if node.number > self._latest:                              # another backward: each goes down in numbers
            self._close_backward()
        self._latest = node.number
        if leaf:
            self._arriving[parent] = kernels.add(self._arriving[parent], gx) if parent in self._arriving else gx

    def finished(self, phase, position, batches) -> Captured:
        """The step, which is over now."""
        self._close_backward()
        names = {p: name for name, p in self._parameters.items()}
        return Captured(
            position.steps + 1, phase.first_epoch + position.epoch, position.batch, phase, batches, self.model,
            self._applications,
            {names[p]: g for p, g in self._sums.items() if p in names},
            {name: p.grad.copy() for name, p in self._parameters.items() if p.grad is not None},
            self._before, self.model.state_dict(), self._memory, self._memories(), self._groups, self._views)

    def _close_backward(self):
        for leaf, gradient in self._arriving.items():
            self._sums[leaf] = kernels.add(self._sums[leaf], gradient) if leaf in self._sums else gradient
        self._arriving = {}

    def _memories(self):
        state = self.optimizer.state()
        order = [p for group in self.optimizer.groups for p in group["params"]]
        number = {p: j for j, p in enumerate(order)}
        found = {}
        for name, p in self._parameters.items():
            prefix = f"params/{number.get(p)}/"
            found[name] = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        return found
