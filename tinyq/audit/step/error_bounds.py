"""Compute the primitives and vjps of a step in float64, with a bound on the rounding errors of float32.

The tables at the end name the bound of each primitive. For a sum of k products in blocks of 256 the bound is
(256 + k / 256 + 4) u times the same sum of magnitudes, with u = 2^-24 (Higham 2002, section 4.2). A larger error is
therefore a fault, such as a miscompiled kernel or a flipped bit, and never noise.
"""
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from tinyq.audit.capture.capture import Application
from tinyq.autodiff import normalization
from tinyq.kernels.contract import KC, MAX_CHUNKS

UNIT, TINY = 2.0**-24, 1e-37
FEW, MORE = 4, 64                       # roundings of an elementwise function, and of one that also sums

ValuesAndBounds = tuple[np.ndarray, np.ndarray]         # float64, of one shape


def forward(application: Application) -> ValuesAndBounds:
    """Compute the primitive in float64 from the same inputs; return its output and a bound per element."""
    inputs, params = wide(application.inputs), application.params
    y = _output(application.primitive.forward(*inputs, **params))
    bound = _FORWARD.get(application.primitive.name, _rounded)
    return y, bound(application.primitive.forward, inputs, params, y) + TINY


def backward(application: Application, position: int) -> ValuesAndBounds:
    """Compute the vjp in float64 from the same gradient; return its output and a bound per element."""
    inputs, g = wide(application.inputs), application.vjps[position][0].astype(np.float64)
    like = application.inputs[position]
    name, rule = application.primitive.name, application.primitive.forward
    if name == "batch_norm_relu":                   # float32 decided which outputs are 0
        g = np.where(application.output > 0, g, 0)
        if position == 3:
            return g, np.full(g.shape, TINY)
        rule, inputs, name = normalization.batch_norm.forward, inputs[:3], "batch_norm"
    vjp = rule(*inputs, **application.params)[1][position]
    gx = application.primitive.gradient(vjp, g, position, np.empty(like.shape))
    bound = _BACKWARD.get(name, _rounded_vjp)(application, rule, inputs, position, g, gx)
    return gx, bound + TINY


def wide(arrays: Iterable[Any]) -> tuple[Any, ...]:
    """Copy the arguments with each float array as float64."""
    return tuple(a.astype(np.float64) if a is not None and a.dtype.kind == "f" else a for a in arrays)


def _output(result):
    return np.asarray(result[0])


def _magnitudes(arrays):
    return tuple(np.abs(a) if a is not None and a.dtype.kind == "f" else a for a in arrays)


def _rounded(rule, inputs, params, y):
    return FEW * UNIT * np.abs(y)


def _rounded_vjp(application, rule, inputs, position, g, gx):
    return FEW * UNIT * np.abs(gx)


def _summed(rule, inputs, params, y):
    return FEW * UNIT * np.abs(_output(rule(*_magnitudes(inputs), **params)))


def _difference(rule, inputs, params, y):
    return FEW * UNIT * (np.abs(inputs[0]) + np.abs(inputs[1]))


def _of_magnitudes(application, rule, inputs, position, g):
    vjp = rule(*_magnitudes(inputs), **application.params)[1][position]
    return np.abs(application.primitive.gradient(vjp, np.abs(g), position, np.empty(inputs[position].shape)))


def _summed_vjp(application, rule, inputs, position, g, gx):
    return FEW * UNIT * _of_magnitudes(application, rule, inputs, position, g)


def _terms(k):
    """Count the roundings of a sum of k products."""
    return min(k, KC) + k / KC + MAX_CHUNKS + FEW


def _product(rule, inputs, params, y):
    k = math.prod(inputs[1].shape[1:]) if rule.__name__ != "matmul" else inputs[0].shape[-1]
    return _terms(k) * UNIT * np.abs(_output(rule(*_magnitudes(inputs), **params)))


def _product_vjp(application, rule, inputs, position, g, gx):
    out = math.prod(application.output.shape)
    k = max(out // max(1, application.output.shape[1]), inputs[1].size // max(1, inputs[1].shape[1]))
    return _terms(k) * UNIT * _of_magnitudes(application, rule, inputs, position, g)


def _loss(rule, inputs, params, y):
    return MORE * UNIT * (1 + np.abs(inputs[0]).max() + np.abs(y))


def _loss_vjp(application, rule, inputs, position, g, gx):
    return MORE * UNIT * (1 + np.abs(inputs[0]).max()) * np.abs(g) * np.full(gx.shape, 1 / len(gx))


def _targets_loss(rule, inputs, params, y):
    return MORE * UNIT * (np.abs(y) + (1 + np.abs(inputs[0]).max()) * np.abs(inputs[1]).sum() / len(inputs[1]))


def _targets_loss_vjp(application, rule, inputs, position, g, gx):
    mass = np.abs(inputs[1]).sum(1, keepdims=True)
    return MORE * UNIT * (1 + np.abs(inputs[0]).max()) * np.abs(g) * (mass + np.abs(inputs[1])) / len(gx)


def _binary_loss(rule, inputs, params, y):
    return MORE * UNIT * (np.abs(y) + (1 + np.abs(inputs[0]).max()) * np.mean(_weights(inputs)))


def _binary_loss_vjp(application, rule, inputs, position, g, gx):
    return MORE * UNIT * np.abs(g) * np.broadcast_to(_weights(inputs), gx.shape) / gx.size


def _weights(inputs):
    return 1.0 if len(inputs) < 3 or inputs[2] is None else np.abs(inputs[2])


def _statistics(x, eps):
    axes = (0, *range(2, x.ndim))
    mean = x.mean(axes, keepdims=True)
    return axes, mean, 1 / np.sqrt(x.var(axes, keepdims=True) + eps)


def _channels(array, like, default):
    return np.full((1,) * like.ndim, default) if array is None else np.abs(array).reshape(-1, *[1] * (like.ndim - 2))


def _normalised(rule, inputs, params, y):
    x, weight, bias = inputs[:3]
    _, mean, inverse = _statistics(x, params["eps"])
    bound = (np.abs(x) + np.abs(mean)) * inverse * _channels(weight, x, 1.0) + _channels(bias, x, 0.0)
    return MORE * UNIT * (bound + (np.abs(inputs[3]) if len(inputs) > 3 and inputs[3] is not None else 0))


def _normalised_vjp(application, rule, inputs, position, g, gx):
    x = inputs[0]
    axes, mean, inverse = _statistics(x, application.params["eps"])
    size = (np.abs(x) + np.abs(mean)) * inverse
    total = np.abs(g).sum(axes, keepdims=True), (np.abs(g) * size).sum(axes, keepdims=True)
    if position:
        return MORE * UNIT * total[position == 1].reshape(-1)
    count = x.size // x.shape[1]
    through_statistics = (total[0] + size * total[1]) / count
    return MORE * UNIT * _channels(inputs[1], x, 1.0) * inverse * (np.abs(g) + through_statistics)


_PRODUCTS = ("conv2d", "conv1d", "linear", "matmul")
_SUMS = ("sum", "mean", "avg_pool2d", "adaptive_avg_pool2d", "add")
_FORWARD = {**dict.fromkeys(_PRODUCTS, _product), **dict.fromkeys(_SUMS, _summed), "sub": _difference,
            "softmax_cross_entropy": _loss,
            "cross_entropy_of_targets": _targets_loss, "binary_cross_entropy_with_logits": _binary_loss,
            "batch_norm": _normalised, "batch_norm_relu": _normalised}
_BACKWARD = {**dict.fromkeys(_PRODUCTS, _product_vjp), **dict.fromkeys((*_SUMS, "sub", "max_pool2d"), _summed_vjp),
             "softmax_cross_entropy": _loss_vjp, "cross_entropy_of_targets": _targets_loss_vjp,
             "binary_cross_entropy_with_logits": _binary_loss_vjp, "batch_norm": _normalised_vjp}
