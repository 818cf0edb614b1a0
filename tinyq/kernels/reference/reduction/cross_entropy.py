"""Reference of softmax cross-entropy with label smoothing, and its gradient."""
import numpy as np

from tinyq.kernels.geometry.class_labels import checked_labels
from tinyq.kernels.reference.elementwise.functions import exp, log
from tinyq.kernels.reference.simd.lanes import chunked_sum


def softmax_cross_entropy(logits: np.ndarray, labels: np.ndarray,
                          smoothing: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """(mean loss as a 0-d array, probabilities (n, c)) of logits (n, c) and labels (n,), see the kernel's formula."""
    n, c = logits.shape
    labels = checked_labels(labels, n, c)
    dtype = logits.dtype
    with np.errstate(invalid="ignore"):                            # two infinite logits: NaN, as in the kernel
        top = np.maximum.reduce(logits, axis=1)
        exponentials = exp(logits - top[:, None])
        total = chunked_sum(exponentials)
        log_total = log(total.astype(dtype)).astype(np.float64)
        loss = log_total - (logits[np.arange(n), labels].astype(np.float64) - top)
        if smoothing != 0:
            uniform = log_total - (chunked_sum(logits) / c - top)
            loss = (1 - smoothing) * loss + smoothing * uniform
    mean = chunked_sum(loss.astype(dtype)).astype(dtype) / dtype.type(n)
    return np.asarray(mean), (exponentials / total[:, None]).astype(dtype)


def softmax_cross_entropy_grad(g: np.ndarray, probabilities: np.ndarray, labels: np.ndarray,
                               smoothing: float) -> np.ndarray:
    """Gradient with respect to the logits: (probabilities - target) * (g / n), of the probabilities' dtype.

    target: smoothing / c, and 1 - smoothing more at the label.
    """
    n, c = probabilities.shape
    dtype = probabilities.dtype
    target = np.full((n, c), smoothing / c, dtype)
    target[np.arange(n), labels] = 1 - smoothing + smoothing / c
    return (probabilities - target) * (g / dtype.type(n))
