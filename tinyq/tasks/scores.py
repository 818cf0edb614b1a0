"""Figures of a network on a split, by the kind of its task."""
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tinyq import kernels
from tinyq.inputs.targets import CLASSES, NUMBERS
from tinyq.tasks.loss import Loss, classes_of


class Scores(Protocol):
    """Measurements of a split."""

    @property
    def loss(self) -> float:
        """Mean loss."""

    @property
    def samples(self) -> int:
        """Number of samples measured."""

    @property
    def figures(self) -> dict:
        """Figures of Task.figures, by name."""

    @property
    def recorded(self) -> dict[str, float]:
        """The loss and the figures that the record of an epoch has, by name."""


@dataclass(frozen=True, eq=False)
class ClassScores:
    """Counts over the samples of a split, and the scores they give."""

    loss: float
    correct: np.ndarray             # (classes,) int64, correct samples of each class
    top5: int                       # samples whose class is among the five largest logits
    confusion: np.ndarray           # (classes, classes) int64: [true, predicted]

    @property
    def samples(self) -> int:
        """Number of samples measured."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """Share of samples whose class has the largest logit."""
        return int(self.correct.sum()) / self.samples

    @property
    def top5_accuracy(self) -> float | None:
        """Share of samples whose class is among the five largest logits; None below ten classes."""
        return self.top5 / self.samples if len(self.correct) >= 10 else None

    @property
    def figures(self) -> dict:
        """See Scores."""
        return {"accuracy": self.accuracy}

    @property
    def recorded(self) -> dict[str, float]:
        """See Scores."""
        return {"loss": self.loss, "accuracy": self.accuracy, "error": 1 - self.accuracy}


@dataclass(frozen=True, eq=False)
class NumberScores:
    """Outputs and targets of a regression, both (n, outputs) float64."""

    loss: float
    outputs: np.ndarray
    targets: np.ndarray

    @property
    def samples(self) -> int:
        """Number of samples measured."""
        return len(self.outputs)

    @property
    def squared_errors(self) -> np.ndarray:
        """Mean squared error of each output, (outputs,)."""
        return _squares(self.outputs - self.targets) / self.samples

    @property
    def r2s(self) -> np.ndarray:
        """1 - squared errors / squared deviations of the targets from their mean, (outputs,).

        Where the targets are all equal: 1 if every output is right, else 0.
        """
        deviations = _squares(self.targets - _sums(self.targets) / self.samples) / self.samples
        errors = self.squared_errors
        varies = (self.targets != self.targets[0]).any(axis=0)      # the deviations from a rounded mean may not be 0
        return np.where(varies, 1 - errors / np.where(varies, deviations, 1.0), np.where(errors == 0, 1.0, 0.0))

    @property
    def figures(self) -> dict:
        """See Scores."""
        return self.recorded

    @property
    def recorded(self) -> dict[str, float]:
        """See Scores."""
        return {"loss": self.loss, "mean_squared_error": _mean(self.squared_errors), "r2": _mean(self.r2s)}


@dataclass(frozen=True, eq=False)
class LabelScores:
    """Outputs (n, labels) float64 and which labels hold, bool of that shape."""

    loss: float
    outputs: np.ndarray
    holds: np.ndarray

    @property
    def samples(self) -> int:
        """Number of samples measured."""
        return len(self.outputs)

    @property
    def label_accuracy(self) -> list[float]:
        """Share of the samples that each label is decided rightly for: an output above 0 says that it holds."""
        right = ((self.outputs > 0) == self.holds).sum(axis=0)
        return (right / self.samples).tolist()

    @property
    def average_precisions(self) -> list[float | None]:
        """Average precision of each label; None where no sample has it."""
        return [average_precision(x, holds) for x, holds in zip(self.outputs.T, self.holds.T, strict=True)]

    @property
    def figures(self) -> dict:
        """See Scores."""
        found = [value for value in self.average_precisions if value is not None]
        right = int(np.count_nonzero((self.outputs > 0) == self.holds))
        return {"mean_average_precision": _mean(np.array(found)) if found else 0.0,
                "accuracy": right / self.outputs.size, "label_accuracy": self.label_accuracy}

    @property
    def recorded(self) -> dict[str, float]:
        """See Scores."""
        figures = self.figures
        return {"loss": self.loss, "mean_average_precision": figures["mean_average_precision"],
                "accuracy": figures["accuracy"], "error": 1 - figures["accuracy"]}


def average_precision(scores: np.ndarray, holds: np.ndarray) -> float | None:
    """Return the sum over thresholds of (rise of the recall) * precision; None where nothing holds.

    scores, holds: (n,). Samples with equal scores pass a threshold together, as in scikit-learn.
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    found = np.cumsum(holds[order])[ends]
    if not found[-1]:
        return None
    return kernels.sum(np.diff(found, prepend=0) * (found / (ends + 1)), (0,)).item() / int(found[-1])


class Tally:
    """Collect outputs and targets, batch by batch, and make the scores of all."""

    def __init__(self, loss: Loss, outputs: int):
        """outputs: of the network, per sample."""
        self.loss, self.total, self.size, self.top5 = loss, 0.0, 0.0, 0
        self.confusion = np.zeros((outputs, outputs), np.int64)
        self.kept: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, loss: float, outputs: np.ndarray, y: np.ndarray) -> None:
        """Add a batch; loss: its mean."""
        size = self.loss.size(y)
        self.total, self.size = self.total + loss * size, self.size + size
        if self.loss.task.kind == CLASSES:
            counted = self.loss.counted(y)
            outputs, labels = outputs[counted], classes_of(y)[counted]
            np.add.at(self.confusion, (labels, outputs.argmax(axis=1)), 1)
            self.top5 += int(np.count_nonzero(_rank_of_label(outputs, labels) < 5))
        else:
            self.kept.append((outputs.astype(np.float64), y.reshape(outputs.shape)))

    @property
    def scores(self) -> Scores:
        """The scores of all batches; of none, or of ignored samples alone, there are none: ZeroDivisionError."""
        loss = self.total / self.size
        if self.loss.task.kind == CLASSES:
            return ClassScores(loss, self.confusion.diagonal().copy(), self.top5, self.confusion)
        outputs, targets = (np.concatenate(parts) for parts in zip(*self.kept, strict=True))
        if self.loss.task.kind == NUMBERS:
            return NumberScores(loss, outputs, targets.astype(np.float64))
        return LabelScores(loss, outputs, targets > 0.5)


def _rank_of_label(logits: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return per sample how many classes have a larger logit than its label, or an equal one and a lower index."""
    own = logits[np.arange(len(y)), y][:, None]
    before = (logits > own) | ((logits == own) & (np.arange(logits.shape[1]) < y[:, None]))
    return before.sum(axis=1)


def _squares(x):
    return _sums(x * x)


def _sums(x):
    return kernels.sum(np.ascontiguousarray(x, np.float64), (0,))


def _mean(x):
    return kernels.sum(np.ascontiguousarray(x, np.float64), (0,)).item() / len(x)
