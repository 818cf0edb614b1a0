"""Losses: means over the samples, each one number."""
import numpy as np

from tinyq import kernels, portable
from tinyq.autodiff.elementwise import abs, div, log, mul, sub, where
from tinyq.autodiff.primitives import OutputAndVJPs, in_float64, primitive
from tinyq.autodiff.reductions import mean, sum
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


@primitive
def cross_entropy_of_targets(logits: np.ndarray, targets: np.ndarray) -> OutputAndVJPs:
    """Return the mean of -sum_c t_c log softmax(logits)_c over the samples: logits and targets t (n, c), of one dtype.

    The targets of a sample are probabilities, or these times weights, or zeros to leave the sample out.
    """
    if logits.ndim != 2 or logits.shape != targets.shape or not len(logits):
        raise ValueError("logits and targets must be (n, classes), n at least 1")
    n = len(logits)
    shifted = logits - logits.max(axis=1, keepdims=True)
    exponentials = kernels.exp(shifted)
    total = kernels.sum(exponentials, (1,))[:, None]
    logs = shifted - kernels.log(total)
    terms = targets * np.where(targets == 0, logits.dtype.type(0), logs)        # 0 * -inf is 0 here
    mass = kernels.sum(targets, (1,))[:, None]
    return -kernels.sum(terms, (0, 1)) / n, (lambda g: (exponentials / total * mass - targets) * (g / n), None)


@primitive
def binary_cross_entropy_with_logits(x: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None,
                                     ) -> OutputAndVJPs:
    """Return the mean of -w (t log s + (1 - t) log(1 - s)) over all elements, s = sigmoid(x), without overflow.

    targets t: of the shape of x, in [0, 1]; weights w: an array that broadcasts to it, None for 1.
    """
    if x.shape != targets.shape or not x.size:
        raise ValueError("logits and targets must have one shape, of one element at least")
    zero = x.dtype.type(0)
    losses = np.where(x > 0, x, zero) - x * targets + _log_of_one_more(kernels.exp(-np.abs(x)))
    losses = losses if weights is None else losses * weights

    def vjp(g: np.ndarray) -> np.ndarray:
        gx = (kernels.sigmoid(x) - targets) * (g / x.size)
        return gx if weights is None else gx * weights

    return kernels.sum(losses, tuple(range(x.ndim))) / x.size, (vjp, None, None)


def _log_of_one_more(e: np.ndarray) -> np.ndarray:
    """Return log(1 + e) for e in [0, 1]; the quotient takes back the rounding of 1 + e (Kahan)."""
    more = 1 + e
    rounded = np.where(more == 1, more.dtype.type(1), more - 1)
    return np.where(more == 1, e, kernels.log(more) * (e / rounded))


def mean_squared_error(x: Tensor, target: Tensor | np.ndarray) -> Tensor:
    """Return the mean of (x - target)^2 over all elements; UsageError unless both have one shape."""
    _check_shapes("mean_squared_error", x, target)
    difference = sub(x, target)
    return mean(mul(difference, difference))


def mean_absolute_error(x: Tensor, target: Tensor | np.ndarray) -> Tensor:
    """Return the mean of |x - target| over all elements, the L1 loss; UsageError unless both have one shape."""
    _check_shapes("mean_absolute_error", x, target)
    return mean(abs(sub(x, target)))


@primitive
@in_float64
def binary_cross_entropy(p: np.ndarray, target: np.ndarray) -> OutputAndVJPs:
    """Return the mean of -(t log p + (1 - t) log(1 - p)), logarithms at least -100; p: probabilities.

    Its gradient is finite at 0 and 1, as in torch: p (1 - p), which it divides by, is at least 1e-12. UsageError unless
    both have one shape. Of logits binary_cross_entropy_with_logits is more accurate.
    """
    _check_shapes("binary_cross_entropy", p, target)
    yes, no = np.maximum(portable.real_log(p), -100), np.maximum(portable.log1p(-p), -100)
    n = np.float64(p.size)
    return -kernels.sum(target * yes + (1 - target) * no, tuple(range(p.ndim))) / n, (
        lambda g: g / n * (p - target) / np.maximum(p * (1 - p), 1e-12), lambda g: g / n * (no - yes))


def kl_divergence(logs: Tensor, target: Tensor | np.ndarray) -> Tensor:
    """Return the sum of t (log t - logs) over all elements, divided by the samples: torch's "batchmean".

    logs: log-probabilities (n, ...), such as log_softmax's; target: probabilities of their shape. UsageError for
    another shape.
    """
    _check_shapes("kl_divergence", logs, target)
    t = target.data if isinstance(target, Tensor) else target
    entropy = mul(target, log(where(t > 0, target, 1.0)))               # 0 log 0 is 0
    return div(sum(sub(entropy, mul(target, logs))), float(len(t)))


def _check_shapes(name: str, x: Tensor | np.ndarray, target: Tensor | np.ndarray) -> None:
    if x.shape != target.shape:
        raise UsageError(f"{name}: the input is {x.shape}, the target {target.shape}; reshape one of them")
