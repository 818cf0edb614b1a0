"""Losses: means over the samples, each one number."""
import numpy as np

from tinyq import kernels
from tinyq.autodiff.elementwise import mul, sub
from tinyq.autodiff.primitives import OutputAndVJPs, primitive
from tinyq.autodiff.reductions import mean
from tinyq.autodiff.tensors import Tensor
from tinyq.errors import UsageError


@primitive
def softmax_cross_entropy(logits: np.ndarray, labels: np.ndarray, *, smoothing: float = 0.0) -> OutputAndVJPs:
    """Return the mean of -sum_c q_c log softmax(logits)_c over the samples: logits (n, c), labels (n,) int64.

    The target q is 1 at the label; with smoothing s it is s / c for each class plus 1 - s at the label (Szegedy et al.,
    2016).
    """
    if logits.ndim != 2:
        raise ValueError("the logits must be (n, classes)")
    if not 0 <= smoothing < 1:
        raise ValueError(f"label smoothing {smoothing} must be at least 0 and below 1")
    loss, probabilities = kernels.softmax_cross_entropy(logits, labels, smoothing)
    return loss, (lambda g: kernels.softmax_cross_entropy_grad(g, probabilities, labels, smoothing), None)


def mean_squared_error(x: Tensor, target: Tensor | np.ndarray) -> Tensor:
    """Return the mean of (x - target)^2 over all elements; UsageError unless both have one shape."""
    if x.shape != target.shape:
        raise UsageError(f"mean_squared_error: the input is {x.shape}, the target {target.shape}; reshape one of them")
    difference = sub(x, target)
    return mean(mul(difference, difference))
