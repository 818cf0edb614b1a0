"""Update the weights from the mean gradient of a list of micro-batches; stop before a NaN spreads."""
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tinyq import nn
from tinyq.autodiff import Tensor
from tinyq.errors import Diverged
from tinyq.optim import Optimizer


class Batch(Protocol):
    """A micro-batch: inputs x (samples, ...) and labels y (samples,)."""

    @property
    def x(self) -> np.ndarray:
        """Inputs, (samples, ...) float."""

    @property
    def y(self) -> np.ndarray:
        """Labels, (samples,) int64."""


@dataclass(frozen=True)
class Step:
    """Numbers of one step.

    loss: mean over the samples. objective: the loss, plus auxiliary heads and whatever the method adds.
    correct, samples: counts.
    """

    loss: float
    objective: float
    correct: int
    samples: int


def gradient_step(model: nn.Module, optimizer: Optimizer, batches: Sequence[Batch], *, label_smoothing: float = 0.0,
                  adjust: Callable[[], float] | None = None, where: dict | None = None,
                  after: Callable[[], None] | None = None) -> Step:
    """Update the weights once from the mean gradient over all samples of the micro-batches.

    Each micro-batch goes through the model by itself, so batch norm takes its statistics from that one alone.
    adjust() may change the gradients before the optimiser sees them, and returns its term of the objective.
    where: {parameter: bool array} of the entries that may move. after() runs after the update.
    Diverged, before any weight changes, if the loss, a gradient or the objective is not finite.
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
        correct += int(np.count_nonzero(logits.data.argmax(axis=1) == batch.y))
    _require_finite_gradients(model, optimizer)
    objective += adjust() if adjust else 0.0
    require_finite(objective, "the objective")
    optimizer.step(where=where)
    if after:
        after()
    return Step(loss, objective, correct, samples)


def require_finite(value: float, name: str) -> None:
    """Raise Diverged, naming the value, unless it is finite: comparisons with a NaN are false and hide it."""
    if not math.isfinite(value):
        raise Diverged(f"{name} is {value}; the run is stopped before it spreads: try a lower learning rate")


def _losses(model, batch, label_smoothing):
    """Return (objective including the auxiliary heads, loss of the main head, its logits)."""
    logits, auxiliary = model.training_outputs(Tensor(batch.x))
    own = total = nn.cross_entropy(logits, batch.y, label_smoothing)
    for share, output in auxiliary:
        total = total + share * nn.cross_entropy(output, batch.y, label_smoothing)
    return total, own, logits


def _require_finite_gradients(model, optimizer):
    """Raise Diverged, naming the parameter, if a gradient holds a NaN or an infinity."""
    for p in (p for group in optimizer.groups for p in group["params"]):
        if p.grad is not None and not np.isfinite(p.grad).all():
            name = next(name for name, other in model.named_parameters() if other is p)
            raise Diverged(f"the gradient of {name} is not finite; the run is stopped before it spreads: "
                           "try a lower learning rate")
