"""The optimisers' updates of a parameter in place, one pass over memory; elementwise in the parameter's own dtype."""
import numpy as np

from tinyq.kernels.geometry.spans import MIN_PARALLEL_SIZE, SPAN, flat
from tinyq.kernels.jit.compile import njit, prange


def sgd(w: np.ndarray, g: np.ndarray, buffer: np.ndarray | None, lr: float, gradient_scale: float, weight_decay: float,
        nesterov: bool, momentum: float) -> None:
    """Update w and the momentum buffer in place: b = momentum * b + gradient_scale * g', then w -= lr * b.

    g' = g + weight_decay * w. Without a buffer (None) the step is g'; Nesterov's step is g' + momentum * b. Arrays of
    one shape, w and b C-contiguous.
    """
    if buffer is None:
        _run(_plain_span, _plain_parallel, (w, g), lr, weight_decay)
    else:
        _run(_momentum_span, _momentum_parallel, (w, g, buffer), lr, gradient_scale, weight_decay, nesterov, momentum)


def adam(w: np.ndarray, g: np.ndarray, mean: np.ndarray, square: np.ndarray, beta1: float, beta2: float,
         weight_decay: float, decay_factor: float, root_correction: float, eps: float, step_size: float) -> None:
    """Update w and both moments in place (Kingma and Ba, 2015, algorithm 1).

        mean = mean + (1 - beta1) (g' - mean)
        square = beta2 square + (1 - beta2) g' g'
        w = decay_factor w - step_size mean / (sqrt(square) / root_correction + eps)

    At step t the corrections of bias are step_size = lr / (1 - beta1^t) and root_correction = sqrt(1 - beta2^t).
    g' = g + weight_decay * decay_factor * w is Adam's decay, decay_factor = 1 - lr * decay AdamW's. Arrays of one
    shape, all but g C-contiguous.
    """
    _run(_adam_span, _adam_parallel, (w, g, mean, square), 1 - beta1, beta2, 1 - beta2, weight_decay, decay_factor,
         root_correction, eps, step_size)


def _run(span, parallel, arrays, *numbers):
    w, g, *memory = arrays
    assert all(a.shape == w.shape and a.flags.c_contiguous for a in (w, *memory)) and g.shape == w.shape
    with np.errstate(over="ignore"):                # an absurd learning rate; the loss that follows shows it
        rounded = [n if isinstance(n, bool) else np.float32(n) for n in numbers]
    run = span if w.size < MIN_PARALLEL_SIZE else parallel
    run(w.reshape(-1), flat(g), *(a.reshape(-1) for a in memory), *rounded)


@njit
def _plain_span(w, g, lr, weight_decay):
    for i in range(w.size):
        step = g[i] + weight_decay * w[i] if weight_decay else g[i]
        w[i] -= lr * step


@njit
def _momentum_span(w, g, buffer, lr, gradient_scale, weight_decay, nesterov, momentum):
    for i in range(w.size):
        step = g[i] + weight_decay * w[i] if weight_decay else g[i]
        b = buffer[i] * momentum + gradient_scale * step
        buffer[i] = b
        w[i] -= lr * (step + momentum * b if nesterov else b)


@njit
def _adam_span(w, g, mean, square, mean_share, beta2, square_share, weight_decay, decay_factor, root_correction, eps,
               step_size):
    for i in range(w.size):
        weight = w[i] * decay_factor
        slope = g[i] + weight_decay * weight if weight_decay else g[i]
        m = mean[i] + (slope - mean[i]) * mean_share
        v = square[i] * beta2 + slope * slope * square_share
        mean[i], square[i] = m, v
        w[i] = weight - m / (np.sqrt(v) / root_correction + eps) * step_size


@njit(parallel=True)
def _plain_parallel(w, g, lr, weight_decay):
    for i in prange(-(-w.size // SPAN)):
        span = slice(i * SPAN, (i + 1) * SPAN)
        _plain_span(w[span], g[span], lr, weight_decay)


@njit(parallel=True)
def _momentum_parallel(w, g, buffer, lr, gradient_scale, weight_decay, nesterov, momentum):
    for i in prange(-(-w.size // SPAN)):
        span = slice(i * SPAN, (i + 1) * SPAN)
        _momentum_span(w[span], g[span], buffer[span], lr, gradient_scale, weight_decay, nesterov, momentum)


@njit(parallel=True)
def _adam_parallel(w, g, mean, square, mean_share, beta2, square_share, weight_decay, decay_factor, root_correction,
                   eps, step_size):
    for i in prange(-(-w.size // SPAN)):
        span = slice(i * SPAN, (i + 1) * SPAN)
        _adam_span(w[span], g[span], mean[span], square[span], mean_share, beta2, square_share, weight_decay,
                   decay_factor, root_correction, eps, step_size)
