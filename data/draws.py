"""The random words of augmentation, found by sample: neither the order of calls nor the number of threads matters."""
import numpy as np


class Draws:
    """All the randomness that augmentation may use in one epoch of one run."""

    def __init__(self, streams, epoch: int):
        """`streams` is the run's Streams; draws of another epoch are unrelated to these."""
        self._streams, self._epoch = streams, epoch
        self._tables: dict[tuple[int, int], np.ndarray] = {}

    def words(self, indices, samples: int, each: int):
        """Rows `indices` of the epoch's table of random words, (len(indices), each) uint64.

        One stream serves the whole epoch, row i being sample i's: an object per image costs more than a small image.
        """
        size = (samples, each)
        if size not in self._tables:            # two threads may both get here: they make the same table
            self._tables[size] = self._streams.key("augment", self._epoch).words(samples * each).reshape(size)
        return self._tables[size][indices]

    def stream(self, index: int):
        """The stream of one sample, for images that are large or too many to draw for at once."""
        return self._streams.key("augment", self._epoch, int(index))


def below(words, limit: int):
    """Integers in [0, limit), int64, from the upper 32 bits of each word (bias below limit / 2**32)."""
    return ((words >> np.uint64(32)) * np.uint64(limit) >> np.uint64(32)).astype(np.int64)
