"""Batch normalisation of (n, c, ...) arrays, training and inference, and its gradient, channel by channel.

A channel is one task: its three passes over x (mean, variance, output) share the core's cache. A ReLU behind it, and a
shortcut added before the ReLU, are part of the last pass and of the gradient's first.
"""
import numpy as np

from tinyq.kernels.elementwise.activation import ZERO, affine_span, channel_affine, relu_grad_span
from tinyq.kernels.geometry.spans import MIN_PARALLEL_SIZE, NOTHING, flat
from tinyq.kernels.jit.compile import njit, part, prange
from tinyq.kernels.simd.lanes import lane_sum, lane_sum_of_products, lane_sum_of_squares

NO_AFFINE = np.empty((2, 0), np.float32)


def batch_norm(x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None,
               eps: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(y, mean, biased variance, 1 / sqrt(variance + eps)) with x's own statistics; x (n, c, ...), the rest (c,).

    weight and bias (c,) or None. Statistics in float64, rounded once to float32; y = x * scale + shift with
    scale = weight * inverse_std and shift = bias - mean * scale computed in float64 and rounded once.
    """
    return _normalise(x, weight, bias, None, False, eps)[:4]


def batch_norm_relu(x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, shortcut: np.ndarray | None,
                    eps: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """`batch_norm` whose y is relu(normalised x + shortcut), and (2, c): scale and shift of the normalised x.

    shortcut of x's shape or None.
    """
    return _normalise(x, weight, bias, shortcut, True, eps)


def batch_norm_grad(g: np.ndarray, x: np.ndarray, weight: np.ndarray | None, mean: np.ndarray,
                    inverse_std: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (gx, gweight, gbias) of `batch_norm`; g and x (n, c, ...), weight (c,) or None, mean and inverse_std (c,).

    With m elements per channel, in float64 and rounded once: gbias = sum g,
    gweight = s = inverse_std * sum g (x - mean);
    gx = g * a + ((x - mean) * b + d), a = weight * inverse_std, b = -a * inverse_std * s / m, d = -a * sum g / m.
    """
    return _gradients(g, x, weight, mean, inverse_std, NOTHING, NO_AFFINE, NOTHING)


def batch_norm_relu_grad(
        g: np.ndarray, y: np.ndarray | None, affine: np.ndarray, x: np.ndarray, weight: np.ndarray | None,
        mean: np.ndarray, inverse_std: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Return (gx, gweight, gbias, gshortcut) of `batch_norm_relu`; y: its output with a shortcut, None without.

    Without a shortcut, x and the affine tell where the ReLU is active, so that y is not read, and gshortcut is None.
    """
    if y is None:
        return *_gradients(g, x, weight, mean, inverse_std, NOTHING, affine, NOTHING), None
    masked = np.empty(x.shape, np.float32)
    return *_gradients(g, x, weight, mean, inverse_std, flat(y), NO_AFFINE, masked.reshape(-1)), masked


def batch_norm_inference(x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, mean: np.ndarray,
                         variance: np.ndarray, eps: float) -> np.ndarray:
    """y (n, c, ...) with given statistics: `channel_affine` with scale and shift as in `batch_norm`."""
    scale = 1 / np.sqrt(variance.astype(np.float64) + float(eps))
    if weight is not None:
        scale *= weight
    shift = (0 if bias is None else bias.astype(np.float64)) - mean.astype(np.float64) * scale
    return channel_affine(x, scale.astype(np.float32), shift.astype(np.float32))


def _normalise(x, weight, bias, shortcut, relu, eps):
    n, c = x.shape[:2]
    weight = np.ones(c, np.float32) if weight is None else flat(weight)
    bias = np.zeros(c, np.float32) if bias is None else flat(bias)
    assert weight.size == bias.size == c and (shortcut is None or shortcut.shape == x.shape)
    y = np.empty(x.shape, np.float32)
    mean, variance, inverse_std = (np.empty(c, np.float32) for _ in range(3))
    affine = np.empty((2, c), np.float32)
    arguments = (flat(x), n, weight, bias, NOTHING if shortcut is None else flat(shortcut), relu, float(eps),
                 y.reshape(-1), mean, variance, inverse_std, affine)
    if x.size < MIN_PARALLEL_SIZE:
        _normalise_channels(*arguments, 0, c)
    else:
        _normalise_parallel(*arguments)
    return y, mean, variance, inverse_std, affine


def _gradients(g, x, weight, mean, inverse_std, y, affine, masked):
    """Run the gradient kernel; y and masked: NOTHING without a shortcut; affine: NO_AFFINE except for a ReLU alone."""
    assert g.shape == x.shape
    n, c = x.shape[:2]
    weight = np.ones(c, np.float32) if weight is None else flat(weight)
    gx, gweight, gbias = np.empty(x.shape, np.float32), np.empty(c, np.float32), np.empty(c, np.float32)
    arguments = (flat(g), y, affine, masked, flat(x), n, weight, flat(mean), flat(inverse_std), gx.reshape(-1), gweight,
                 gbias)
    if x.size < MIN_PARALLEL_SIZE:
        _gradient_channels(*arguments, 0, c)
    else:
        _gradient_parallel(*arguments)
    return gx, gweight, gbias


@njit
def _normalise_channels(x, n, weight, bias, shortcut, relu, eps, y, mean, variance, inverse_std, affine, first, last):
    channels = weight.size
    size = x.size // max(1, n * channels)
    for c in range(first, last):
        total = 0.0
        for sample in range(n):
            total += lane_sum(x, (sample * channels + c) * size, size)
        centre = total / (n * size)
        total = 0.0
        for sample in range(n):
            total += lane_sum_of_squares(x, centre, (sample * channels + c) * size, size)
        spread = total / (n * size)
        inverse = 1 / np.sqrt(spread + eps)
        scale = weight[c] * inverse
        shift = bias[c] - centre * scale
        mean[c], variance[c], inverse_std[c] = centre, spread, inverse
        affine[0, c], affine[1, c] = scale, shift
        for sample in range(n):
            start = (sample * channels + c) * size
            end = start + size
            if not relu:
                affine_span(x[start:end], y[start:end], np.float32(scale), np.float32(shift))
            elif shortcut.size:
                _affine_add_relu_span(x[start:end], shortcut[start:end], y[start:end], np.float32(scale),
                                      np.float32(shift))
            else:
                _affine_relu_span(x[start:end], y[start:end], np.float32(scale), np.float32(shift))


@part
def _affine_relu_span(x, y, scale, shift):
    for i in range(x.size):
        value = x[i] * scale + shift
        y[i] = ZERO if value <= ZERO else value


@part
def _affine_add_relu_span(x, shortcut, y, scale, shift):
    for i in range(x.size):
        value = (x[i] * scale + shift) + shortcut[i]
        y[i] = ZERO if value <= ZERO else value


@njit(parallel=True)
def _normalise_parallel(x, n, weight, bias, shortcut, relu, eps, y, mean, variance, inverse_std, affine):
    for i in prange(weight.size):
        c = np.int64(i)                                     # prange counts unsigned, another type to compile for
        _normalise_channels(x, n, weight, bias, shortcut, relu, eps, y, mean, variance, inverse_std, affine, c, c + 1)


@njit
def _gradient_channels(g, y, affine, masked, x, n, weight, mean, inverse_std, gx, gweight, gbias, first, last):
    channels = weight.size
    size = x.size // max(1, n * channels)
    let_through = masked if masked.size else gx if affine.size else g
    for c in range(first, last):
        centre, inverse = np.float64(mean[c]), np.float64(inverse_std[c])
        total, total_product = 0.0, 0.0
        for sample in range(n):
            start = (sample * channels + c) * size
            end = start + size
            if masked.size:
                relu_grad_span(g[start:end], y[start:end], masked[start:end])
            elif affine.size:
                _let_through(g[start:end], x[start:end], gx[start:end], affine[0, c], affine[1, c])
            total += lane_sum(let_through, start, size)
            total_product += lane_sum_of_products(let_through, x, centre, start, size)
        slope = total_product * inverse
        gbias[c], gweight[c] = total, slope
        a = weight[c] * inverse
        b = -a * inverse * (slope / (n * size))
        d = -a * (total / (n * size))
        for sample in range(n):
            start = (sample * channels + c) * size
            end = start + size
            if affine.size:
                _gradient_in_place(x[start:end], gx[start:end], mean[c], np.float32(a), np.float32(b), np.float32(d))
            else:
                _gradient_span(let_through[start:end], x[start:end], gx[start:end],
                               mean[c], np.float32(a), np.float32(b), np.float32(d))


@part
def _let_through(g, x, gx, scale, shift):
    """gx = g where x * scale + shift is above 0, else 0."""
    for i in range(gx.size):
        gx[i] = ZERO if x[i] * scale + shift <= ZERO else g[i]


@part
def _gradient_span(g, x, gx, mean, a, b, d):
    for i in range(gx.size):
        gx[i] = g[i] * a + ((x[i] - mean) * b + d)


@part
def _gradient_in_place(x, gx, mean, a, b, d):
    """_gradient_span where gx holds g: a separate loop, because overlapping arrays keep the compiler from vectors."""
    for i in range(gx.size):
        gx[i] = gx[i] * a + ((x[i] - mean) * b + d)


@njit(parallel=True)
def _gradient_parallel(g, y, affine, masked, x, n, weight, mean, inverse_std, gx, gweight, gbias):
    for i in prange(weight.size):
        c = np.int64(i)
        _gradient_channels(g, y, affine, masked, x, n, weight, mean, inverse_std, gx, gweight, gbias, c, c + 1)
