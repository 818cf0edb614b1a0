"""The optimisers' updates of a parameter in place, one pass over memory; elementwise in the parameter's own dtype."""
import numpy as np

from tinyq.kernels.geometry.spans import SPAN, WORTH_THREADS, flat
from tinyq.kernels.jit.compile import njit, prange


def sgd(w, g, momentum, lr, share, decay, nesterov, factor):
    """b = factor * b + share * g', w -= lr * b, where g' = g + decay * w (the decay left out if 0).

    w, g and b (momentum) of one shape, w and b C-contiguous; without momentum, b None, the step is g'. Nesterov's step
    is g' + factor * b.
    """
    if momentum is None:
        _run(_plain_span, _plain_parallel, (w, g), lr, decay)
    else:
        _run(_momentum_span, _momentum_parallel, (w, g, momentum), lr, share, decay, nesterov, factor)


def adam(w, g, mean, square, shares, kept, decay, shrink, root, eps, rate):
    """mean += shares[0] (g' - mean), square = kept square + shares[1] g' g', w = shrink w - rate mean / denominator.

    The denominator is sqrt(square) / root + eps, and g' = g + decay * w (left out if 0, as is a shrink of 1). Arrays of
    one shape, all but g C-contiguous.
    """
    _run(_adam_span, _adam_parallel, (w, g, mean, square), *shares, kept, decay, shrink, root, eps, rate)


def _run(span, parallel, arrays, *numbers):
    w, g, *memory = arrays
    assert all(a.shape == w.shape and a.flags.c_contiguous for a in (w, *memory)) and g.shape == w.shape
    with np.errstate(over="ignore"):                # of an absurd --lr; the loss that follows says so
        numbers = [n if isinstance(n, bool) else np.float32(n) for n in numbers]
    run = span if w.size < WORTH_THREADS else parallel
    run(w.reshape(-1), flat(g), *(a.reshape(-1) for a in memory), *numbers)


@njit
def _plain_span(w, g, lr, decay):
    for i in range(w.size):
        step = g[i] + decay * w[i] if decay else g[i]
        w[i] -= lr * step


@njit
def _momentum_span(w, g, momentum, lr, share, decay, nesterov, factor):
    for i in range(w.size):
        step = g[i] + decay * w[i] if decay else g[i]
        b = momentum[i] * factor + share * step
        momentum[i] = b
        w[i] -= lr * (step + factor * b if nesterov else b)


@njit
def _adam_span(w, g, mean, square, mean_share, square_share, kept, decay, shrink, root, eps, rate):
    for i in range(w.size):
        weight = w[i] * shrink
        slope = g[i] + decay * weight if decay else g[i]
        m = mean[i] + (slope - mean[i]) * mean_share
        s = square[i] * kept + slope * slope * square_share
        mean[i], square[i] = m, s
        w[i] = weight - m / (np.sqrt(s) / root + eps) * rate


@njit(parallel=True)
def _plain_parallel(w, g, lr, decay):
    for i in prange(-(-w.size // SPAN)):
        part = slice(i * SPAN, (i + 1) * SPAN)
        _plain_span(w[part], g[part], lr, decay)


@njit(parallel=True)
def _momentum_parallel(w, g, momentum, lr, share, decay, nesterov, factor):
    for i in prange(-(-w.size // SPAN)):
        part = slice(i * SPAN, (i + 1) * SPAN)
        _momentum_span(w[part], g[part], momentum[part], lr, share, decay, nesterov, factor)


@njit(parallel=True)
def _adam_parallel(w, g, mean, square, mean_share, square_share, kept, decay, shrink, root, eps, rate):
    for i in prange(-(-w.size // SPAN)):
        part = slice(i * SPAN, (i + 1) * SPAN)
        _adam_span(w[part], g[part], mean[part], square[part], mean_share, square_share, kept, decay, shrink, root,
                   eps, rate)
