"""Update the weights from the mean gradient of a list of micro-batches; stop before a NaN spreads."""
import functools
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tinyq import nn
from tinyq.autodiff import Tensor
from tinyq.errors import Diverged
from tinyq.optim import Optimizer
from tinyq.tasks.loss import CROSS_ENTROPY, Loss


class Batch(Protocol):
    """A micro-batch: inputs x (samples, ...) and targets y (samples, ...)."""

    @property
    def x(self) -> np.ndarray:
        """Inputs, (samples, ...) float."""

    @property
    def y(self) -> np.ndarray:
        """Targets, (samples,) int64 or (samples, ...) float."""


@dataclass(frozen=True)
class Step:
    """Numbers of one step.

    loss: mean over the samples. objective: the loss, plus auxiliary heads and whatever the method adds.
    correct, samples: counts. decisions: what `correct` is counted of, such as the samples (tasks/loss.py, Loss.right).
    auxiliary: what the heads add.
    """

    loss: float
    objective: float
    correct: int
    samples: int
    decisions: int
    auxiliary: float = 0.0


@np.errstate(all="ignore")          # an infinity is found below and named; NumPy need not warn of it too
def gradient_step(model: nn.Module, optimizer: Optimizer, batches: Sequence[Batch], *, loss: Loss = CROSS_ENTROPY,
                  adjust: Callable[[], float] | None = None, where: dict | None = None,
                  after: Callable[[], None] | None = None) -> Step:
    """Update the weights once from the mean gradient over all samples of the micro-batches.

    loss: of outputs and targets, as the configuration names it.
    Each micro-batch goes through the model by itself, so batch norm takes its statistics from that one alone.
    adjust() may change the gradients before the optimiser sees them, and returns its term of the objective.
    where: {parameter: bool array} of the entries that may move. after() runs after the update.
    Diverged, before any weight changes, if the loss, a gradient or the objective is not finite.
    """
    optimizer.zero_grad()
    sizes = [loss.size(batch.y) for batch in batches]
    whole = functools.reduce(operator.add, sizes)           # sum() of floats has other bits from Python 3.12 on
    objective, mean, auxiliary, correct, decisions = 0.0, 0.0, 0.0, 0, 0
    for batch, size in zip(batches, sizes, strict=True):
        total, own, outputs = _losses(model, batch, loss)
        require_finite(total.item(), "the loss")
        share = size / whole if size else 0.0
        total.backward(np.full(total.shape, share, total.dtype))
        objective += share * total.item()
        mean += share * own.item()
        auxiliary += share * (total.item() - own.item())
        right = loss.right(outputs.data, batch.y)
        correct, decisions = correct + right[0], decisions + right[1]
    _require_finite_gradients(model, optimizer)
    objective += adjust() if adjust else 0.0
    require_finite(objective, "the objective")
    optimizer.step(where=where)
    if after:
        after()
    return Step(mean, objective, correct, sum(len(batch.y) for batch in batches), decisions, auxiliary)


def require_finite(value: float, name: str) -> None:
    """Raise Diverged, naming the value, unless it is finite: comparisons with a NaN are false and hide it."""
    if not math.isfinite(value):
        raise Diverged(f"{name} is {value}; the run is stopped before it spreads: try a lower learning rate")


def _losses(model, batch, loss):
    """Return (objective including the auxiliary heads, loss of the main head, its outputs)."""
    outputs, auxiliary = model.training_outputs(Tensor(batch.x))
    own = total = loss(outputs, batch.y)
    for share, output in auxiliary:
        total = total + share * loss(output, batch.y)
    return total, own, outputs


def _require_finite_gradients(model, optimizer):
    """Raise Diverged, naming the parameter, if a gradient holds a NaN or an infinity."""
    for p in (p for group in optimizer.groups for p in group["params"]):
        if p.grad is not None and not np.isfinite(p.grad).all():
            name = next(name for name, other in model.named_parameters() if other is p)
            raise Diverged(f"the gradient of {name} is not finite; the run is stopped before it spreads: "
                           "try a lower learning rate")
