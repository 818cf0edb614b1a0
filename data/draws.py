"""Give each sample its random numbers for augmentation, whatever the order of calls and the number of threads."""
from collections.abc import Sequence

import numpy as np

from tinyq.streams import Stream, Streams


class Draws:
    """Random numbers of augmentation in one epoch of a run."""

    def __init__(self, streams: Streams, epoch: int) -> None:
        """streams: the run's Streams. Different epochs have unrelated numbers."""
        self._streams, self._epoch = streams, epoch
        self._tables: dict[tuple[int, int], np.ndarray] = {}

    def words(self, indices: np.ndarray | Sequence[int], samples: int, each: int) -> np.ndarray:
        """Return rows `indices` of the epoch's table of random words, (len(indices), each) uint64.

        Row i belongs to sample i. One stream makes the whole table: a stream per sample would cost more than the
        augmentation of a small image.
        """
        size = (samples, each)
        if size not in self._tables:            # two threads may both make the table: it is the same
            self._tables[size] = self._streams.key("augment", self._epoch).words(samples * each).reshape(size)
        return self._tables[size][indices]

    def stream(self, index: int) -> Stream:
        """Return the stream of one sample, for data whose table of random words would be too large."""
        return self._streams.key("augment", self._epoch, int(index))


def below(words: np.ndarray, limit: int) -> np.ndarray:
    """Return integers in [0, limit), int64, from the upper 32 bits of each word (bias below limit / 2**32)."""
    return ((words >> np.uint64(32)) * np.uint64(limit) >> np.uint64(32)).astype(np.int64)
