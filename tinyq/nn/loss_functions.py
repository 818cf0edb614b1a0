"""Loss functions."""
import numpy as np

from tinyq.autodiff import Tensor, losses


def cross_entropy(logits: Tensor, labels: np.ndarray, label_smoothing: float = 0.0) -> Tensor:
    """Return the mean of -log softmax(logits) at the label over the batch, a 0-d Tensor.

    logits: (n, c); labels: (n,) int64. With label smoothing s the target is s / c for each class plus 1 - s for the
    label.
    """
    return losses.softmax_cross_entropy(logits, labels, smoothing=label_smoothing)
