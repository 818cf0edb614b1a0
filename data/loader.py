"""Prepare the batches of an epoch ahead on threads; order and contents do not depend on the threads."""
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from tinyq.data.datasets import Dataset
from tinyq.data.draws import Draws
from tinyq.streams import Streams


class Batch(NamedTuple):
    """Samples of one step: x (n, ...) float32, y (n,) int64 or (n, ...) float32, indices (n,) int64 in the split."""

    x: np.ndarray
    y: np.ndarray
    indices: np.ndarray


class Loader:
    """Iterate over a split in batches: `for batch in loader.epoch(3)`; len() is the number of batches.

    A last batch of one sample is joined to the batch before it, because batch norm cannot train on one sample.
    """

    def __init__(self, dataset: Dataset, batch_size: int, streams: Streams | None = None, shuffle: bool = False,
                 augment: bool = False, workers: int = 0):
        """`streams`, the run's, is needed to shuffle or augment; `workers` threads prepare batches ahead (0: none)."""
        assert batch_size > 0 and (streams is not None or not (shuffle or augment))
        self.dataset, self.batch_size, self.streams = dataset, batch_size, streams
        self.shuffle, self.augment, self.workers = shuffle, augment, workers

    def __len__(self):
        """Number of batches per epoch."""
        whole, left = divmod(len(self.dataset), self.batch_size)
        return whole + (left > 1 or left == 1 and not whole)

    @property
    def smallest(self) -> int:
        """Number of samples in the smallest batch, 0 for an empty split."""
        return self.samples(len(self) - 1) if len(self) else 0

    def samples(self, start: int, count: int = 1) -> int:
        """Return the number of samples in `count` batches from number `start` on, unreadable ones included."""
        end = (start + count) * self.batch_size if start + count < len(self) else len(self.dataset)
        return end - start * self.batch_size

    def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from number `start` on (a resumed run has done those before).

        A batch of which unreadable images leave one sample or none is yielded empty, so that batches can be counted.
        An error of the dataset is raised at the batch it belongs to. The threads end with the iterator, even after an
        error.
        """
        n = len(self.dataset)
        order = np.arange(n)
        if self.shuffle and self.streams is not None:
            order = self.streams.key("shuffle", epoch).permutation(n)
        draws = Draws(self.streams, epoch) if self.augment and self.streams is not None else None
        parts = (order[k * self.batch_size:][:self.samples(k)] for k in range(start, len(self)))
        return (self._prepared_ahead if self.workers else map)(lambda indices: self._batch(indices, draws), parts)

    def _batch(self, indices, draws):
        x, y = self.dataset.batch(indices, draws)
        if len(y) < len(indices):
            indices = indices[~np.isin(indices, list(self.dataset.skipped))]
            if len(y) == 1:
                x, y, indices = x[:0], y[:0], indices[:0]
        return Batch(x, y, indices)

    def _prepared_ahead(self, prepare, parts):
        """Map on threads, in order, with at most two batches per thread in preparation or waiting."""
        with ThreadPoolExecutor(self.workers, "tinyq-data") as pool:
            waiting: deque[Future] = deque()
            try:
                for part in parts:
                    waiting.append(pool.submit(prepare, part))
                    if len(waiting) >= 2 * self.workers:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)
