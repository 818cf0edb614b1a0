"""Compare the outputs of two networks over samples."""
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np


@dataclass
class Agreement:
    """How far two networks agree, over all samples so far."""

    samples: int = 0
    same: int = 0                       # samples of which both have the same class
    difference: float = 0.0             # largest, of any output
    largest: float = 0.0                # magnitude of any output

    def add(self, ours: np.ndarray, theirs: np.ndarray) -> None:
        """Count a batch of outputs (n, classes)."""
        self.samples += len(ours)
        rows = [a.reshape(len(a), -1).astype(np.float64) for a in (ours, theirs)]
        self.same += int((rows[0].argmax(axis=1) == rows[1].argmax(axis=1)).sum())
        self.difference = max(self.difference, float(np.abs(rows[0] - rows[1]).max()))
        self.largest = max(self.largest, float(np.abs(rows[0]).max()))

    @property
    def relative(self) -> float:
        """Largest difference, divided by the largest output."""
        return self.difference / self.largest if self.largest else self.difference

    def shown(self) -> str:
        """Return the figures in words."""
        return (f"largest difference of an output {self.difference:.2g}, {self.relative:.2g} of the largest output; "
                f"the same class for {self.same:,} of {self.samples:,} samples ({self.same / self.samples:.2%})")


def agreement(ours: Callable[[np.ndarray], np.ndarray], theirs: Callable[[np.ndarray], np.ndarray],
              batches: Iterable[np.ndarray]) -> Agreement:
    """Compare two functions of a batch over batches (n, ...) float32."""
    found = Agreement()
    for x in batches:
        found.add(ours(x), theirs(x))
    return found
