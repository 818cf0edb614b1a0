"""Losses as a run uses them: of a batch's outputs and targets, together with the kind of task they serve."""
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinyq import nn
from tinyq.autodiff import Tensor
from tinyq.errors import UsageError
from tinyq.inputs.targets import CLASSES, LABELS
from tinyq.nn.loss_functions import weight_of
from tinyq.tasks.task import CLASSIFICATION, Task

Function = Callable[[Tensor, np.ndarray], Any]


@dataclass(frozen=True)
class Loss:
    """A mean over the samples of a batch; a subclass computes it in `of`.

    Targets of classes are labels, (n,) integers; a loss that is no cross-entropy receives them as (n, c) of 0 and 1.
    ignore_index: label of the samples that count neither for the loss nor for a figure.
    """

    task: Task = CLASSIFICATION
    ignore_index: int | None = None

    def __call__(self, outputs: Tensor, y: np.ndarray) -> Tensor:
        """Return the loss of outputs (n, c), a 0-d Tensor. y: targets as the loader gives them."""
        counted = self.counted(y)
        if counted.all():
            return self.of(outputs, self._targets(outputs, y))
        if not counted.any():
            return outputs.sum() * 0.0                     # nothing to learn from
        outputs = outputs[np.flatnonzero(counted)]
        return self.of(outputs, self._targets(outputs, y[counted]))

    def of(self, outputs: Tensor, targets: np.ndarray) -> Tensor:
        """Return the mean over the samples; targets: of the shape and dtype of the outputs."""
        raise NotImplementedError

    def __deepcopy__(self, memo: dict) -> "Loss":
        """Return itself: nothing in it changes, and a user's module cannot be copied."""
        return self

    def size(self, y: np.ndarray) -> float:
        """Return the number of samples that a batch counts as where means of several batches are combined."""
        return int(np.count_nonzero(self.counted(y)))

    def counted(self, y: np.ndarray) -> np.ndarray:
        """Return which samples count, (n,) bool."""
        if self.ignore_index is None or y.ndim != 1:
            return np.ones(len(y), bool)
        return y != self.ignore_index

    def right(self, outputs: np.ndarray, y: np.ndarray) -> tuple[int, int]:
        """Return (right decisions, decisions): one per sample of classes, or per sample and label; none of numbers."""
        if self.task.kind == CLASSES:
            counted = self.counted(y)
            return int(np.count_nonzero((outputs.argmax(axis=1) == classes_of(y)) & counted)), int(counted.sum())
        if self.task.kind == LABELS:
            return int(np.count_nonzero((outputs > 0) == (y.reshape(outputs.shape) > 0.5))), outputs.size
        return 0, 0

    @property
    def measured(self) -> "Loss":
        """The loss as it is measured of a network: without label smoothing."""
        return self

    @property
    def is_plain(self) -> bool:
        """True for the cross-entropy of labels without weights, which kernels compute."""
        return False

    def _targets(self, outputs, y):
        if self.task.kind == CLASSES and y.ndim == 1:
            return np.eye(outputs.shape[1], dtype=outputs.dtype)[y]
        if y.size != outputs.size:
            raise UsageError(f"loss: targets of shape {y.shape} do not fit outputs of shape {outputs.shape}")
        return y.reshape(outputs.shape).astype(outputs.dtype)


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """nn.cross_entropy of labels or probabilities."""

    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None

    def __call__(self, outputs: Tensor, y: np.ndarray) -> Tensor:
        """See Loss."""
        return nn.cross_entropy(outputs, y, self.label_smoothing, self._weights, self.ignore_index)

    def size(self, y: np.ndarray) -> float:
        """Return the number of samples, or the sum of the weights of their labels."""
        return weight_of(y, self._weights, self.ignore_index)

    @property
    def measured(self) -> "Loss":
        """See Loss."""
        return replace(self, label_smoothing=0.0)

    @property
    def is_plain(self) -> bool:
        """See Loss."""
        return self.class_weights is None

    @property
    def _weights(self):
        return None if self.class_weights is None else np.array(self.class_weights)


CROSS_ENTROPY = CrossEntropy()


@dataclass(frozen=True)
class MeanSquaredError(Loss):
    """nn.mean_squared_error over all outputs."""

    def of(self, outputs: Tensor, targets: np.ndarray) -> Tensor:
        """See Loss."""
        return nn.mean_squared_error(outputs, targets)


@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """nn.binary_cross_entropy_with_logits over all outputs; class_weights: factors of the labels."""

    class_weights: tuple[float, ...] | None = None

    def of(self, outputs: Tensor, targets: np.ndarray) -> Tensor:
        """See Loss."""
        weights = None if self.class_weights is None else np.array(self.class_weights)
        return nn.binary_cross_entropy_with_logits(outputs, targets, weights)


@dataclass(frozen=True)
class OwnLoss(Loss):
    """A function of the user's: function(outputs, y) returns the mean over the samples, a 0-d Tensor.

    It gets y as the loader gives it, float targets in the dtype of the outputs.
    """

    function: Function | None = None

    def of(self, outputs: Tensor, targets: np.ndarray) -> Tensor:
        """See Loss; UsageError where the function returns no 0-d Tensor."""
        assert self.function is not None
        loss = self.function(outputs, targets)
        if not isinstance(loss, Tensor) or loss.shape != ():
            what = f"a Tensor of shape {loss.shape}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
            raise UsageError(f"loss: the function returned {what}, not the mean over the samples, a Tensor of shape ()")
        return loss

    def _targets(self, outputs, y):
        return y if y.dtype.kind in "iub" else y.astype(outputs.dtype)


def classes_of(y: np.ndarray) -> np.ndarray:
    """Return labels (n,): themselves, or the likeliest class of probabilities (n, c)."""
    return y if y.ndim == 1 else y.argmax(axis=1)
