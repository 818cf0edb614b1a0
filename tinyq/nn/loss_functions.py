"""Loss functions."""
import numpy as np

from tinyq import kernels
from tinyq.autodiff import Tensor, losses
from tinyq.errors import UsageError


def cross_entropy(logits: Tensor, labels: np.ndarray, label_smoothing: float = 0.0,
                  class_weights: np.ndarray | None = None, ignore_index: int | None = None) -> Tensor:
    """Return the mean of -log softmax(logits) at the label over the batch, a 0-d Tensor, as torch defines it.

    logits: (n, c); labels: (n,) int64, or (n, c) float, the probability of each class. With label smoothing s the
    target is s / c for each class plus 1 - s for the label. class_weights: (c,), factors of the classes; of labels, the
    mean is then the weighted one. ignore_index: label of the samples that are left out.
    UsageError for labels, weights or a smoothing that do not fit.
    """
    if labels.dtype.kind in "iu" and class_weights is None and ignore_index is None:
        return losses.softmax_cross_entropy(logits, labels, smoothing=label_smoothing)
    if logits.ndim != 2:
        raise UsageError(f"cross_entropy: the logits must be (n, classes), but are {logits.shape}")
    n, c = logits.shape
    targets = _probabilities(labels, n, c, ignore_index)
    if not 0 <= label_smoothing < 1:
        raise UsageError(f"cross_entropy: label smoothing {label_smoothing} must be at least 0 and below 1")
    if class_weights is not None and class_weights.shape != (c,):
        raise UsageError(f"cross_entropy: class weights of shape {class_weights.shape} do not fit {c} classes")
    if label_smoothing:
        counted = targets.any(axis=1, keepdims=True)
        targets = np.where(counted, (1 - label_smoothing) * targets + label_smoothing / c, targets)
    targets = targets if class_weights is None else targets * class_weights
    size = weight_of(labels, class_weights, ignore_index)
    return losses.cross_entropy_of_targets(logits, (targets * (n / size if size else 0.0)).astype(logits.dtype))


def weight_of(labels: np.ndarray, class_weights: np.ndarray | None = None, ignore_index: int | None = None) -> float:
    """Return what cross_entropy divides by: the number of samples, or the sum of the weights of their labels."""
    if labels.ndim != 1:
        return len(labels)
    counted = labels if ignore_index is None else labels[labels != ignore_index]
    if class_weights is None:
        return len(counted)
    return kernels.sum(class_weights.astype(np.float64)[counted], (0,)).item()


def _probabilities(labels, n, c, ignore_index):
    """Return float64 (n, c) from labels or probabilities; zeros for an ignored sample."""
    if labels.dtype.kind == "f":
        if labels.shape != (n, c) or ignore_index is not None:
            raise UsageError(f"cross_entropy: probabilities of shape {labels.shape} do not fit {n} samples and {c} "
                             "classes; they have no label to ignore either")
        return labels.astype(np.float64)
    counted = labels != ignore_index
    wrong = labels[counted & ((labels < 0) | (labels >= c))] if labels.shape == (n,) else labels
    if labels.shape != (n,) or not n or wrong.size:
        raise UsageError(f"cross_entropy: labels of shape {labels.shape} do not fit {n} samples and {c} classes"
                         + (f"; one is {wrong[0]}" if labels.ndim == 1 and wrong.size else ""))
    targets = np.zeros((n, c))
    targets[np.flatnonzero(counted), labels[counted]] = 1
    return targets


def binary_cross_entropy_with_logits(logits: Tensor, targets: np.ndarray, weights: np.ndarray | None = None) -> Tensor:
    """Return the mean over all elements of the cross-entropy of sigmoid(logits), a 0-d Tensor.

    targets: of the logits' shape, in [0, 1]. weights: factors that broadcast to it, such as (c,), one per label.
    """
    weights = None if weights is None else weights.astype(logits.dtype)
    return losses.binary_cross_entropy_with_logits(logits, targets.astype(logits.dtype), weights)
