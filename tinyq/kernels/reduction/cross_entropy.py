"""Softmax cross-entropy with label smoothing, and its gradient."""
import numpy as np

from tinyq.kernels.contract import REDUCTION_CHUNK
from tinyq.kernels.elementwise.functions import exp_of, log_of
from tinyq.kernels.geometry.class_labels import checked_labels
from tinyq.kernels.geometry.spans import flat, over_items
from tinyq.kernels.jit.compile import njit, prange
from tinyq.kernels.reduction.reduce import sum as reduced_sum
from tinyq.kernels.simd.lanes import lane_sum


def softmax_cross_entropy(logits: np.ndarray, labels: np.ndarray,
                          smoothing: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return (mean loss as a 0-d array, probabilities (n, c)) of logits (n, c) and labels (n,); float32.

    Each sample: (1 - s) * (log sum - (x[label] - max)) + s * (log sum - (mean x - max)), with e = exp(x - max) and
    its sum in 32 float64 lanes; rounded to float32, summed, divided by n. BadInput for a label that is not a class.
    """
    n, c = logits.shape
    labels = checked_labels(labels, n, c)
    probabilities, losses = np.empty((n, c), np.float32), np.empty(n, np.float32)
    over_items(_rows, _rows_parallel, n, c, flat(logits), labels, float(smoothing), probabilities.reshape(-1), losses)
    return np.asarray(reduced_sum(losses, None) / np.float32(n)), probabilities


def softmax_cross_entropy_grad(g: np.ndarray, probabilities: np.ndarray, labels: np.ndarray,
                               smoothing: float) -> np.ndarray:
    """Gradient with respect to the logits: (probabilities - target) * (g / n), float32 (n, c).

    target: smoothing / c, and 1 - smoothing more at the label.
    """
    n, c = probabilities.shape
    at_label = np.arange(n), labels
    gx = probabilities - np.float32(smoothing / c)
    gx[at_label] = probabilities[at_label] - np.float32(1 - smoothing + smoothing / c)
    gx *= g / np.float32(n)
    return gx


@njit
def _rows(x, labels, smoothing, probabilities, losses, first, last):
    classes = x.size // losses.size
    for row in range(first, last):
        start, end = row * classes, (row + 1) * classes
        top = _exponentials(x[start:end], probabilities[start:end])
        total = _chunked_sum(probabilities, start, classes)
        _divide(probabilities[start:end], total)
        log_total = np.float64(log_of(np.float32(total)))
        loss = log_total - (np.float64(x[start + labels[row]]) - top)
        if smoothing != 0:
            uniform = log_total - (_chunked_sum(x, start, classes) / classes - top)
            loss = (1 - smoothing) * loss + smoothing * uniform
        losses[row] = loss


@njit
def _exponentials(x, e):
    """e = exp(x - max x); returns the maximum."""
    top = x[0]
    for i in range(1, x.size):
        top = x[i] if x[i] > top else top
    for i in range(x.size):
        e[i] = exp_of(x[i] - top)
    return top


@njit
def _divide(x, divisor):
    for i in range(x.size):
        x[i] = x[i] / divisor


@njit
def _chunked_sum(x, start, count):
    """One row's sum in the order of `reduce.sum`, before rounding."""
    total = 0.0
    for k in range(0, count, REDUCTION_CHUNK):
        total += lane_sum(x, start + k, min(REDUCTION_CHUNK, count - k))
    return total


@njit(parallel=True)
def _rows_parallel(x, labels, smoothing, probabilities, losses, n, grain):
    for i in prange(-(-n // grain)):
        _rows(x, labels, smoothing, probabilities, losses, i * grain, min((i + 1) * grain, n))
