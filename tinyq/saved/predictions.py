"""What a network takes every sample for, as a table that other programs read."""
import csv
import io

import numpy as np

from tinyq import kernels
from tinyq.files.atomic import write_text

SHOWN = 5                               # classes a sample


class Predictions:
    """Rows of a CSV file: sample, label, then the likeliest classes with their probabilities."""

    def __init__(self, dataset, class_names):
        """Nothing yet; `add` takes what measure(each=...) gives."""
        self.dataset, self.class_names, self.rows = dataset, class_names, []
        self.names = getattr(dataset, "names", None)

    def add(self, samples, labels, logits):
        """Samples (n,) by index, labels (n,), logits (n, classes); the lower class comes first on a tie."""
        _, probabilities = kernels.softmax_cross_entropy(logits, labels)
        order = np.argsort(-logits, axis=1, kind="stable")[:, :SHOWN]
        for sample, label, row, likeliest in zip(samples.tolist(), labels.tolist(), probabilities, order.tolist(),
                                                 strict=True):
            shares = [text for k in likeliest for text in (self.class_names[k], f"{row[k]:.6f}")]
            self.rows.append([self.names[sample] if self.names else sample, self.class_names[label], *shares])

    def write(self, path):
        """Save all rows below a header."""
        text, shown = io.StringIO(), min(SHOWN, len(self.class_names))
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["sample", "label", *(f"{name}_{k + 1}" for k in range(shown)
                                             for name in ("class", "probability"))])
        table.writerows(self.rows)
        write_text(path, text.getvalue())
