"""Predictions for each sample as a CSV table: the most likely classes, numbers or probabilities of labels."""
import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinyq import kernels
from tinyq.data import Dataset, ImageFiles
from tinyq.files.atomic import write_text
from tinyq.inputs.targets import CLASSES, LABELS
from tinyq.output.quoting import csv_cell
from tinyq.tasks.loss import classes_of
from tinyq.tasks.task import CLASSIFICATION, Task

SHOWN = 5                               # classes per sample


class Predictions:
    """Rows of a CSV file: sample, label, then the most likely classes with their probabilities.

    Of other tasks: sample, the targets, then the numbers or the probabilities of the labels.
    """

    def __init__(self, dataset: Dataset, class_names: Sequence[str], task: Task = CLASSIFICATION):
        """Start without rows; pass `add` to measure(each=...). class_names: of classes, numbers or labels."""
        self.class_names, self.task = class_names, task
        self.rows: list[list] = []
        self.names = dataset.names if isinstance(dataset, ImageFiles) else None

    def add(self, samples: np.ndarray, labels: np.ndarray, logits: np.ndarray) -> None:
        """Add a batch: samples (n,) by index, targets, outputs (n, classes). Ties go to the lower class."""
        if self.task.kind != CLASSES:
            self._add_numbers(samples, labels, logits)
            return
        labels = classes_of(labels)
        _, probabilities = kernels.softmax_cross_entropy(logits, labels)
        order = np.argsort(-logits, axis=1, kind="stable")[:, :SHOWN]
        for sample, label, row, likeliest in zip(samples.tolist(), labels.tolist(), probabilities, order.tolist(),
                                                 strict=True):
            shares = [text for k in likeliest for text in (self.class_names[k], f"{row[k]:.6f}")]
            self.rows.append([self.names[sample] if self.names else sample, self.class_names[label], *shares])

    def _add_numbers(self, samples, targets, outputs):
        said = kernels.sigmoid(outputs) if self.task.kind == LABELS else outputs
        for sample, target, row in zip(samples.tolist(), targets.reshape(outputs.shape), said, strict=True):
            self.rows.append([self.names[sample] if self.names else sample,
                              *(float(f"{value:.9g}") for value in (*target, *row))])

    def write(self, path: str | Path) -> None:
        """Write a header and all rows."""
        text, shown = io.StringIO(), min(SHOWN, len(self.class_names))
        head = ["sample", "label", *(f"{name}_{k + 1}" for k in range(shown) for name in ("class", "probability"))]
        if self.task.kind != CLASSES:
            head = ["sample", *(f"target_{name}" for name in self.class_names), *self.class_names]
        table = csv.writer(text, lineterminator="\n")
        table.writerow(map(csv_cell, head))
        table.writerows([value if isinstance(value, float) else csv_cell(value) for value in row] for row in self.rows)
        write_text(path, text.getvalue())
