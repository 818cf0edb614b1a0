"""How well a network does on one split of a dataset."""
import math
from dataclasses import dataclass

import numpy as np

from tinyq import nn
from tinyq.autodiff import Tensor
from tinyq.inference import Fused

BATCH, MAX_NUMBERS = 500, 1 << 22      # samples in a batch at most, and what their inputs may hold together


@dataclass(frozen=True, eq=False)
class Scores:
    """Counts over the samples of a split, and what follows from them."""

    loss: float                     # mean cross-entropy
    correct: np.ndarray             # (classes,) int64, samples of each class recognised
    top5: int                       # samples whose class is among the five largest logits
    confusion: np.ndarray           # (classes, classes) int64: [true, predicted]

    @property
    def samples(self) -> int:
        """How many were measured."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """Share of samples whose largest logit is that of their class."""
        return int(self.correct.sum()) / self.samples

    @property
    def top5_accuracy(self) -> float | None:
        """Share of samples whose class is among the five largest logits; None below ten classes."""
        return self.top5 / self.samples if len(self.correct) >= 10 else None


def logits_of(model, x):
    """What the model in evaluation mode makes of a batch: an array (n, classes); its mode is restored."""
    return Fused(model)(x)


def measure(model, dataset, num_classes: int, input_shape, before_batch=None, each=None) -> Scores:
    """Run a whole split through the model; on a tie of logits the lower class counts as the prediction.

    before_batch() is called ahead of each batch and may raise, to stop here; each(samples, labels, logits) behind it.
    """
    batch_size = max(1, min(BATCH, MAX_NUMBERS // math.prod(input_shape)))
    loss, top5 = 0.0, 0
    network, confusion = Fused(model), np.zeros((num_classes, num_classes), np.int64)
    for start in range(0, len(dataset), batch_size):
        if before_batch:
            before_batch()
        x, y = dataset.batch(np.arange(start, min(start + batch_size, len(dataset))))
        logits = network(x)
        loss += nn.cross_entropy(Tensor(logits), y).item() * len(y)
        np.add.at(confusion, (y, logits.argmax(axis=1)), 1)
        top5 += np.count_nonzero(_rank_of_label(logits, y) < 5)
        if each:
            each(_kept(dataset, start, batch_size), y, logits)
    return Scores(loss / confusion.sum(), confusion.diagonal().copy(), int(top5), confusion)


def _kept(dataset, start, batch_size):
    """The samples of a batch, but for unreadable images that were skipped."""
    skipped = getattr(dataset, "skipped", {})
    return np.array([i for i in range(start, min(start + batch_size, len(dataset))) if i not in skipped], np.int64)


def _rank_of_label(logits, y):
    """How many classes come before each sample's own: those of a larger logit, or of an equal one and lower index."""
    own = logits[np.arange(len(y)), y][:, None]
    before = (logits > own) | ((logits == own) & (np.arange(logits.shape[1]) < y[:, None]))
    return before.sum(axis=1)
