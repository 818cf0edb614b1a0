"""The losses."""
import numpy as np

from tinyq.autodiff import Tensor, losses


def cross_entropy(logits: Tensor, labels: np.ndarray, label_smoothing: float = 0.0) -> Tensor:
    """Mean over the batch of -log softmax at the label: logits (n, c), labels (n,) int64, a 0-d Tensor.

    With label smoothing s the target is (1 - s) at the label plus s / c everywhere.
    """
    return losses.softmax_cross_entropy(logits, labels, smoothing=label_smoothing)
