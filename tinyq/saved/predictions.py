"""The most likely classes of each sample, as a CSV table."""
import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinyq import kernels
from tinyq.data import Dataset, ImageFiles
from tinyq.files.atomic import write_text
from tinyq.output.quoting import csv_cell

SHOWN = 5                               # classes per sample


class Predictions:
    """Rows of a CSV file: sample, label, then the most likely classes with their probabilities."""

    def __init__(self, dataset: Dataset, class_names: Sequence[str]):
        """Start without rows; pass `add` to measure(each=...)."""
        self.class_names = class_names
        self.rows: list[list] = []
        self.names = dataset.names if isinstance(dataset, ImageFiles) else None

    def add(self, samples: np.ndarray, labels: np.ndarray, logits: np.ndarray) -> None:
        """Add a batch: samples (n,) by index, labels (n,), logits (n, classes). Ties go to the lower class."""
        _, probabilities = kernels.softmax_cross_entropy(logits, labels)
        order = np.argsort(-logits, axis=1, kind="stable")[:, :SHOWN]
        for sample, label, row, likeliest in zip(samples.tolist(), labels.tolist(), probabilities, order.tolist(),
                                                 strict=True):
            shares = [text for k in likeliest for text in (self.class_names[k], f"{row[k]:.6f}")]
            self.rows.append([self.names[sample] if self.names else sample, self.class_names[label], *shares])

    def write(self, path: str | Path) -> None:
        """Write a header and all rows."""
        text, shown = io.StringIO(), min(SHOWN, len(self.class_names))
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["sample", "label", *(f"{name}_{k + 1}" for k in range(shown)
                                             for name in ("class", "probability"))])
        table.writerows([csv_cell(value) for value in row] for row in self.rows)
        write_text(path, text.getvalue())
