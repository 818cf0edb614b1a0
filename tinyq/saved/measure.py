"""Measure a network on one split of a dataset."""
import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from tinyq.autodiff import Tensor
from tinyq.data import Dataset
from tinyq.errors import BadInput
from tinyq.inference.fused_network import Fused
from tinyq.nn import Module
from tinyq.output.work import Work
from tinyq.tasks.loss import CROSS_ENTROPY, Loss
from tinyq.tasks.scores import Scores, Tally

Network: TypeAlias = Callable[[np.ndarray], np.ndarray]        # a batch to its logits (n, classes)

BATCH, MAX_NUMBERS = 500, 1 << 22      # limits per batch: samples, and numbers in their inputs


def logits_of(model: Module, x: np.ndarray) -> np.ndarray:
    """Compute the logits (n, classes) of a batch in evaluation mode; the model's mode is restored."""
    return Fused(model)(x)


@np.errstate(all="ignore")          # a loss beyond float32 is a figure
def measure(model: Module | Network, dataset: Dataset, num_classes: int, input_shape: tuple[int, ...],
            before_batch: Callable[[], None] | None = None,
            each: Callable[[np.ndarray, np.ndarray, np.ndarray], None] | None = None,
            loss: Loss = CROSS_ENTROPY) -> Scores:
    """Run a whole split through the model, or a function of a batch; of equal logits the lower class wins.

    num_classes: outputs of the network. before_batch() is called before each batch and may raise to stop;
    each(samples, targets, outputs) is called after it. BadInput where no sample counts.
    """
    batch_size = max(1, min(BATCH, MAX_NUMBERS // math.prod(input_shape)))
    network = Fused(model) if isinstance(model, Module) else model
    tally = Tally(loss, num_classes)
    with Work("measuring the network", len(dataset), "samples") as work:
        for start in range(0, len(dataset), batch_size):
            if before_batch:
                before_batch()
            x, y = dataset.batch(np.arange(start, min(start + batch_size, len(dataset))))
            logits = network(x)
            tally.add(loss.measured(Tensor(logits), y).item(), logits, y)
            if each:
                each(_read_samples(dataset, start, batch_size), y, logits)
            work.advance(len(y))
    if not tally.size:
        raise BadInput(f"loss: not one of the {len(dataset)} samples of a split counts; ignore another label")
    return tally.scores


def _read_samples(dataset: Dataset, start: int, batch_size: int) -> np.ndarray:
    """Return the indices of a batch's samples, without unreadable images that were skipped."""
    skipped = getattr(dataset, "skipped", {})
    return np.array([i for i in range(start, min(start + batch_size, len(dataset))) if i not in skipped], np.int64)
