"""What a training method is, and the step that the methods with a gradient share.

A method's constructor stores its hyper-parameters and nothing else; what it keeps while it runs is made in `begin`
and has a name that ends in "_".
"""
import math
from dataclasses import dataclass, field, fields
from typing import Protocol

import numpy as np

from tinyq import nn
from tinyq.autodiff import Tensor
from tinyq.errors import BadInput, Diverged, UsageError


class Method(Protocol):
    """How the weights of a network come to their levels. The training loop knows this and no method by name."""

    done: bool                      # nothing is left to do: the loop may stop before its last epoch
    notice: str                     # after begin, what is to be said before the first step; or ""

    def begin(self, model, optimizer, data, streams, state=None):
        """Take over the model's constrained parameters; with `state` go on from there instead of starting.

        The model then holds the weights of the moment `state` was taken, and the optimizer its own state.
        """

    def step(self, batches) -> float:
        """One change of the weights from a list of micro-batches (x, y); returns the objective that it lowers."""

    def so_far(self) -> dict:
        """{name: number} of the epoch in hand, for the bar."""

    def end_epoch(self, validation=None) -> dict:
        """What the method does between epochs, given validation figures; returns {name: number} for the record."""

    def finish(self):
        """Leave every constrained weight bit-equal to scale * level, under a fixed LevelView."""

    def state(self) -> dict:
        """Everything a bit-exact resume needs beside model and optimizer: {name: array, number or bool}."""

    def load_state(self, state):
        """Take over what `state` gave."""


@dataclass
class Sums:
    """Sums over the steps of an epoch so far, from the batches as they were trained on."""

    loss: float = 0.0               # over samples
    correct: int = 0
    samples: int = 0
    objective: float = 0.0          # over steps
    steps: int = 0

    def add(self, step):
        """Count one step."""
        self.loss += step.loss * step.samples
        self.correct += step.correct
        self.samples += step.samples
        self.objective += step.objective
        self.steps += 1

    def means(self):
        """The averages: loss and accuracy over samples, objective over steps; {} before the first step."""
        if not self.steps:
            return {}
        return {"train_loss": self.loss / self.samples, "train_accuracy": self.correct / self.samples,
                "train_objective": self.objective / self.steps}


@dataclass(frozen=True)
class Step:
    """What one step saw: the mean loss of its samples, and the objective, to which auxiliary heads and a method add."""

    loss: float
    objective: float
    correct: int
    samples: int


def gradient_step(model, optimizer, batches, *, label_smoothing=0.0, adjust=None, where=None, after=None):
    """One update from the mean gradient over all samples of the micro-batches; Diverged before anything spreads.

    Each micro-batch goes through the model by itself, so batch norm takes its statistics from that one alone.
    adjust() may change the gradients before the optimiser sees them and returns what it adds to the objective;
    where: {parameter: bool array}, the entries that may move; after() runs behind the update.
    """
    optimizer.zero_grad()
    samples = sum(len(batch.y) for batch in batches)
    objective, loss, correct = 0.0, 0.0, 0
    for batch in batches:
        total, own, logits = _losses(model, batch, label_smoothing)
        require_finite(total.item(), "the loss")
        share = len(batch.y) / samples
        total.backward(np.full(total.shape, share, total.dtype))
        objective += share * total.item()
        loss += share * own.item()
        correct += np.count_nonzero(logits.data.argmax(axis=1) == batch.y)
    _require_finite_gradients(model, optimizer)
    objective += adjust() if adjust else 0.0
    require_finite(objective, "the objective")
    optimizer.step(where=where)
    if after:
        after()
    return Step(loss, objective, int(correct), samples)


def _losses(model, batch, label_smoothing):
    """(what is lowered, the network's own loss, its logits): the first has the auxiliary heads' shares added."""
    logits, auxiliary = model.training_outputs(Tensor(batch.x))
    own = total = nn.cross_entropy(logits, batch.y, label_smoothing)
    for share, output in auxiliary:
        total = total + share * nn.cross_entropy(output, batch.y, label_smoothing)
    return total, own, logits


def require_finite(value, what):
    """Diverged, naming what, unless the number is finite: a NaN compares false and would go unnoticed."""
    if not math.isfinite(value):
        raise Diverged(f"{what} is {value}; the run is stopped before it spreads: try a lower --lr")


def _require_finite_gradients(model, optimizer):
    """Diverged, naming the parameter, if a gradient holds a NaN or an infinity."""
    for p in (p for group in optimizer.groups for p in group["params"]):
        if p.grad is not None and not np.isfinite(p.grad).all():
            name = next(name for name, other in model.named_parameters() if other is p)
            raise Diverged(f"the gradient of {name} is not finite; the run is stopped before it spreads: "
                           "try a lower --lr")


def constrainable(model, method):
    """(dotted name, Parameter) of every weight to constrain; UsageError with the way out where there is none."""
    found = model.constrained_parameters()
    if not found:
        raise UsageError(f"--method {method}: {type(model).__name__} has no weight to constrain (the first and the "
                         "last layer stay float); add --constrain all to constrain those too")
    return found


def refuse_unfit(state, shapes):
    """BadInput, with every difference, unless each name of `shapes` is in the state with that shape."""
    problems = [f"missing {name}" for name in shapes if name not in state]
    problems += [f"{name} is {np.shape(state[name])}, must be {shape}" for name, shape in shapes.items()
                 if name in state and np.shape(state[name]) != shape]
    if problems:
        raise BadInput("the method's state does not fit this network: " + "; ".join(problems))


@dataclass
class GradientMethod:
    """A method that follows a gradient: the bookkeeping that backprop, CBP and RPR have in common."""

    label_smoothing: float = field(default=0.0, kw_only=True)

    done, notice = False, ""

    def begin(self, model, optimizer, data, streams, state=None):
        """Take over the model; with `state` go on from there instead of starting."""
        self.model, self.optimizer, self.sums = model, optimizer, Sums()
        self.prepare()
        if state is None:
            self.start()
        else:
            self.load_state(state)

    def prepare(self):
        """Find what there is to work on; runs before `start` as well as before a resume."""

    def start(self):
        """The state a run begins with."""

    def step(self, batches):
        """One update; returns the objective."""
        self.last_step = step = self.update(batches)
        self.sums.add(step)
        return step.objective

    def update(self, batches):
        """The gradient step, with the method's hooks."""
        return gradient_step(self.model, self.optimizer, batches, label_smoothing=self.label_smoothing)

    def so_far(self):
        """The mean objective of the epoch's steps."""
        return {"objective": self.sums.objective / max(self.sums.steps, 1)}

    def end_epoch(self, validation=None):
        """The averages of the epoch, whose sums begin anew."""
        record, self.sums = self.sums.means(), Sums()
        return record

    def finish(self):
        """Nothing is constrained."""

    def state(self):
        """The sums of the epoch so far."""
        return {f"sums/{f.name}": getattr(self.sums, f.name) for f in fields(Sums)}

    def load_state(self, state):
        """Take over the sums of an epoch so far."""
        refuse_unfit(state, {f"sums/{f.name}": () for f in fields(Sums)})
        self.sums = Sums(**{f.name: f.type(state[f"sums/{f.name}"]) for f in fields(Sums)})
