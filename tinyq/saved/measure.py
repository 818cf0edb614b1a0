"""Measure a network on one split of a dataset."""
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from tinyq import nn
from tinyq.autodiff import Tensor
from tinyq.data import Dataset
from tinyq.inference import Fused
from tinyq.nn import Module
from tinyq.output.work import Work

Network: TypeAlias = Callable[[np.ndarray], np.ndarray]        # a batch to its logits (n, classes)

BATCH, MAX_NUMBERS = 500, 1 << 22      # limits per batch: samples, and numbers in their inputs


@dataclass(frozen=True, eq=False)
class Scores:
    """Counts over the samples of a split, and the scores they give."""

    loss: float                     # mean cross-entropy
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


def logits_of(model: Module, x: np.ndarray) -> np.ndarray:
    """Compute the logits (n, classes) of a batch in evaluation mode; the model's mode is restored."""
    return Fused(model)(x)


def measure(model: Module | Network, dataset: Dataset, num_classes: int, input_shape: tuple[int, ...],
            before_batch: Callable[[], None] | None = None,
            each: Callable[[np.ndarray, np.ndarray, np.ndarray], None] | None = None) -> Scores:
    """Run a whole split through the model, or a function of a batch; of equal logits the lower class wins.

    before_batch() is called before each batch and may raise to stop; each(samples, labels, logits) is called after it.
    """
    batch_size = max(1, min(BATCH, MAX_NUMBERS // math.prod(input_shape)))
    loss, top5 = 0.0, 0
    network = Fused(model) if isinstance(model, Module) else model
    confusion = np.zeros((num_classes, num_classes), np.int64)
    with Work("measuring the network", len(dataset), "samples") as work:
        for start in range(0, len(dataset), batch_size):
            if before_batch:
                before_batch()
            x, y = dataset.batch(np.arange(start, min(start + batch_size, len(dataset))))
            logits = network(x)
            loss += nn.cross_entropy(Tensor(logits), y).item() * len(y)
            np.add.at(confusion, (y, logits.argmax(axis=1)), 1)
            top5 += int(np.count_nonzero(_rank_of_label(logits, y) < 5))
            if each:
                each(_read_samples(dataset, start, batch_size), y, logits)
            work.advance(len(y))
    return Scores(loss / confusion.sum(), confusion.diagonal().copy(), top5, confusion)


def _read_samples(dataset: Dataset, start: int, batch_size: int) -> np.ndarray:
    """Return the indices of a batch's samples, without unreadable images that were skipped."""
    skipped = getattr(dataset, "skipped", {})
    return np.array([i for i in range(start, min(start + batch_size, len(dataset))) if i not in skipped], np.int64)


def _rank_of_label(logits: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return per sample how many classes have a larger logit than its label, or an equal one and a lower index."""
    own = logits[np.arange(len(y)), y][:, None]
    before = (logits > own) | ((logits == own) & (np.arange(logits.shape[1]) < y[:, None]))
    return before.sum(axis=1)
