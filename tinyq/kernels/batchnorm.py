"""Batch normalisation of (n, c, ...) arrays, training and inference, and its gradient, channel by channel.

A channel is one task: its three passes over x (mean, variance, output) meet in the core's own cache.
"""
import numpy as np

from tinyq.kernels.activation import affine_span, channel_affine
from tinyq.kernels.compile import njit, prange
from tinyq.kernels.lanes import lane_sum, lane_sum_of_products, lane_sum_of_squares
from tinyq.kernels.reference.batchnorm import inference_affine
from tinyq.kernels.spans import WORTH_THREADS, flat


def batch_norm(x, weight, bias, eps):
    """(y, mean, biased variance, 1 / sqrt(variance + eps)) with x's own statistics; x (n, c, ...), the rest (c,).

    weight and bias (c,) or None. Statistics in float64, rounded once to float32; y = x * scale + shift with
    scale = weight * inverse_std and shift = bias - mean * scale computed in float64 and rounded once.
    """
    n, c = x.shape[:2]
    weight = np.ones(c, np.float32) if weight is None else flat(weight)
    bias = np.zeros(c, np.float32) if bias is None else flat(bias)
    assert weight.size == bias.size == c
    y = np.empty(x.shape, np.float32)
    mean, variance, inverse_std = (np.empty(c, np.float32) for _ in range(3))
    arguments = flat(x), n, weight, bias, float(eps), y.reshape(-1), mean, variance, inverse_std
    if x.size < WORTH_THREADS:
        _normalise_channels(*arguments, 0, c)
    else:
        _normalise_parallel(*arguments)
    return y, mean, variance, inverse_std


def batch_norm_grad(g, x, weight, mean, inverse_std):
    """(gx, gweight, gbias) of `batch_norm`; g and x (n, c, ...), weight (c,) or None, mean and inverse_std (c,).

    With m elements a channel, in float64 and rounded once: gbias = sum g, gweight = s = inverse_std * sum g (x - mean);
    gx = g * a + ((x - mean) * b + d), a = weight * inverse_std, b = -a * inverse_std * s / m, d = -a * sum g / m.
    """
    assert g.shape == x.shape
    n, c = x.shape[:2]
    weight = np.ones(c, np.float32) if weight is None else flat(weight)
    gx, gweight, gbias = np.empty(x.shape, np.float32), np.empty(c, np.float32), np.empty(c, np.float32)
    arguments = flat(g), flat(x), n, weight, flat(mean), flat(inverse_std), gx.reshape(-1), gweight, gbias
    if x.size < WORTH_THREADS:
        _gradient_channels(*arguments, 0, c)
    else:
        _gradient_parallel(*arguments)
    return gx, gweight, gbias


def batch_norm_inference(x, weight, bias, mean, variance, eps):
    """y (n, c, ...) with given statistics: `channel_affine` by `inference_affine`."""
    return channel_affine(x, *inference_affine(weight, bias, mean, variance, eps, np.float32))


@njit
def _normalise_channels(x, n, weight, bias, eps, y, mean, variance, inverse_std, first, last):
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
        for sample in range(n):
            start = (sample * channels + c) * size
            affine_span(x[start:start + size], y[start:start + size], np.float32(scale), np.float32(shift))


@njit(parallel=True)
def _normalise_parallel(x, n, weight, bias, eps, y, mean, variance, inverse_std):
    for c in prange(weight.size):
        _normalise_channels(x, n, weight, bias, eps, y, mean, variance, inverse_std, c, c + 1)


@njit
def _gradient_channels(g, x, n, weight, mean, inverse_std, gx, gweight, gbias, first, last):
    channels = weight.size
    size = x.size // max(1, n * channels)
    for c in range(first, last):
        centre, inverse = np.float64(mean[c]), np.float64(inverse_std[c])
        total, total_product = 0.0, 0.0
        for sample in range(n):
            start = (sample * channels + c) * size
            total += lane_sum(g, start, size)
            total_product += lane_sum_of_products(g, x, centre, start, size)
        slope = total_product * inverse
        gbias[c], gweight[c] = total, slope
        a = weight[c] * inverse
        b = -a * inverse * (slope / (n * size))
        d = -a * (total / (n * size))
        for sample in range(n):
            start = (sample * channels + c) * size
            end = start + size
            _gradient_span(g[start:end], x[start:end], gx[start:end],
                           mean[c], np.float32(a), np.float32(b), np.float32(d))


@njit
def _gradient_span(g, x, gx, mean, a, b, d):
    for i in range(gx.size):
        gx[i] = g[i] * a + ((x[i] - mean) * b + d)


@njit(parallel=True)
def _gradient_parallel(g, x, n, weight, mean, inverse_std, gx, gweight, gbias):
    for c in prange(weight.size):
        _gradient_channels(g, x, n, weight, mean, inverse_std, gx, gweight, gbias, c, c + 1)
