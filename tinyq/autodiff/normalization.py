"""Batch, layer and group normalisation of x (n, c, ...).

Batch norm (Ioffe & Szegedy, 2015) normalises over all axes but the second; its per-channel arrays are (c,).
"""
import math

import numpy as np

from tinyq import kernels
from tinyq.autodiff.primitives import OutputAndVJPs, VJPs, in_float64, primitive, shared_vjps
from tinyq.kernels.geometry.conv_geometry import check_channels


@primitive(auxiliary=True)
def batch_norm(x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, *,
               eps: float) -> tuple[np.ndarray, VJPs, tuple[np.ndarray, np.ndarray]]:
    """Return weight * (x - mean) / sqrt(variance + eps) + bias, with the mean and biased variance of the batch.

    A call returns (output Tensor, mean, variance), with mean and variance as arrays (c,). The gradient flows through
    both. weight and bias are (c,) or None.
    """
    _check_input(x, weight=weight, bias=bias)
    y, mean, variance, inverse_std = kernels.batch_norm(x, weight, bias, eps)
    vjps = shared_vjps(lambda g: kernels.batch_norm_grad(g, x, weight, mean, inverse_std), 3)
    return y, vjps, (mean, variance)


@primitive(auxiliary=True)
def batch_norm_relu(x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, shortcut: np.ndarray | None, *,
                    eps: float) -> tuple[np.ndarray, VJPs, tuple[np.ndarray, np.ndarray]]:
    """Return relu(batch_norm(x) + shortcut), in as many passes as batch_norm alone.

    shortcut: of x's shape, or None. A call returns (output Tensor, mean, variance), as batch_norm.
    """
    _check_input(x, weight=weight, bias=bias)
    if shortcut is not None and shortcut.shape != x.shape:
        raise ValueError("the shortcut must have the input's shape")
    y, mean, variance, inverse_std, affine = kernels.batch_norm_relu(x, weight, bias, shortcut, eps)
    kept = None if shortcut is None else y
    vjps = shared_vjps(lambda g: kernels.batch_norm_relu_grad(g, kept, affine, x, weight, mean, inverse_std), 4)
    return y, vjps, (mean, variance)


@primitive
def batch_norm_inference(x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, mean: np.ndarray,
                         variance: np.ndarray, *, eps: float) -> OutputAndVJPs:
    """Return batch norm with a given mean and variance (c,), which get no gradient: one affine per channel."""
    _check_input(x, weight=weight, bias=bias, mean=mean, variance=variance)
    inverse_std = 1 / np.sqrt(variance.astype(np.float64) + eps)
    scale = (inverse_std if weight is None else weight * inverse_std).astype(x.dtype)

    def weight_vjp(g):
        centred = kernels.channel_affine(x, None, -mean)
        return kernels.channel_sums(g * centred) * inverse_std.astype(x.dtype)

    return kernels.batch_norm_inference(x, weight, bias, mean, variance, eps), (
        lambda g: kernels.channel_affine(g, scale, None), weight_vjp, kernels.channel_sums, None, None)


@primitive
@in_float64
def layer_norm(x: np.ndarray, weight: np.ndarray | None = None, bias: np.ndarray | None = None, *, axes: int = 1,
               eps: float = 1e-5) -> OutputAndVJPs:
    """Normalise over the last `axes` axes (Ba et al., 2016); weight and bias have their sizes, or are None."""
    lead = x.ndim - axes
    return _normalised(x, weight, bias, math.prod(x.shape[:lead]), x.shape[lead:], tuple(range(lead)), eps)


@primitive
@in_float64
def group_norm(x: np.ndarray, weight: np.ndarray | None = None, bias: np.ndarray | None = None, *, groups: int,
               eps: float = 1e-5) -> OutputAndVJPs:
    """Normalise each sample over each of `groups` groups of channels (Wu & He, 2018); weight and bias: (c,) or None."""
    _check_input(x, weight=weight, bias=bias)
    if groups < 1 or x.shape[1] % groups:
        raise ValueError(f"{x.shape[1]} channels do not divide into {groups} groups")
    shape, shared = (x.shape[1], *[1] * (x.ndim - 2)), (0, *range(2, x.ndim))
    return _normalised(x, weight, bias, len(x) * groups, shape, shared, eps)


def _normalised(x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, rows: int, shape: tuple[int, ...],
                shared: tuple[int, ...], eps: float) -> OutputAndVJPs:
    """Normalise each of the equal rows of x; weight and bias, of this shape, are shared along the axes `shared`."""
    matrix = x.reshape(1, rows, x.size // (rows or 1))
    y, mean, _, inverse_std = kernels.batch_norm(matrix, None, None, eps)
    y, w = y.reshape(x.shape), 1.0 if weight is None else weight.reshape(shape)

    def input_vjp(g):
        gx, *_ = kernels.batch_norm_grad((g * w).reshape(matrix.shape), matrix, None, mean, inverse_std)
        return gx.reshape(x.shape)

    return y * w + (0.0 if bias is None else bias.reshape(shape)), (
        input_vjp, lambda g: kernels.sum(g * y, shared), lambda g: kernels.sum(g, shared))


def _check_input(x: np.ndarray, **arrays: np.ndarray | None) -> None:
    if x.ndim < 2:
        raise ValueError("the input must be (n, c, ...)")
    check_channels(x.shape[1], **arrays)
