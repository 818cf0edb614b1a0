"""Elementwise primitives, with broadcasting where there are two inputs.

IEEE arithmetic fixes the bits of + - * / sqrt and comparisons, which are NumPy's; exp, log, tanh and sigmoid are
kernels. np.where selects, because np.maximum may return either zero of +0 and -0.
"""
import math

import numpy as np

from tinyq import kernels
from tinyq.autodiff.primitives import OutputAndVJPs, primitive
from tinyq.errors import UsageError


def _same(g: np.ndarray) -> np.ndarray:
    return g


def _kept(mask: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Return g where the mask is True, +0 elsewhere (a product would give -0 and NaN there)."""
    return np.where(mask, g, g.dtype.type(0))


@primitive(broadcasts=True)
def add(x: np.ndarray, y: np.ndarray) -> OutputAndVJPs:
    """Return x + y."""
    return kernels.add(x, y) if x.shape == y.shape else x + y, (_same, _same)


@primitive(broadcasts=True)
def sub(x: np.ndarray, y: np.ndarray) -> OutputAndVJPs:
    """Return x - y."""
    return x - y, (_same, lambda g: -g)


@primitive(broadcasts=True)
def mul(x: np.ndarray, y: np.ndarray) -> OutputAndVJPs:
    """Return x * y."""
    return x * y, (lambda g: g * y, lambda g: g * x)


@primitive(broadcasts=True)
def div(x: np.ndarray, y: np.ndarray) -> OutputAndVJPs:
    """Return x / y."""
    z = x / y
    return z, (lambda g: g / y, lambda g: -(g * z) / y)


@primitive
def neg(x: np.ndarray) -> OutputAndVJPs:
    """Return -x."""
    return -x, (lambda g: -g,)


@primitive
def relu(x: np.ndarray) -> OutputAndVJPs:
    """Return +0 where x <= 0, x elsewhere; the gradient at 0 is 0."""
    y = kernels.relu(x)
    return y, (lambda g: kernels.relu_grad(g, y),)


@primitive
def abs(x: np.ndarray) -> OutputAndVJPs:
    """Return |x|; the gradient at 0 is 0."""
    return np.abs(x), (lambda g: np.where(x > 0, g, _kept(x < 0, -g)),)


@primitive
def exp(x: np.ndarray) -> OutputAndVJPs:
    """Return e ** x."""
    y = kernels.exp(x)
    return y, (lambda g: g * y,)


@primitive
def log(x: np.ndarray) -> OutputAndVJPs:
    """Return the natural logarithm."""
    return kernels.log(x), (lambda g: g / x,)


@primitive
def tanh(x: np.ndarray) -> OutputAndVJPs:
    """Return the hyperbolic tangent."""
    y = kernels.tanh(x)
    return y, (lambda g: g * (1 - y * y),)


@primitive
def sigmoid(x: np.ndarray) -> OutputAndVJPs:
    """Return 1 / (1 + e ** -x)."""
    y = kernels.sigmoid(x)
    return y, (lambda g: g * (y * (1 - y)),)


@primitive
def sqrt(x: np.ndarray) -> OutputAndVJPs:
    """Return the square root of x."""
    return _square_root(x)


def _square_root(x: np.ndarray) -> OutputAndVJPs:
    y = np.sqrt(x)
    return y, (lambda g: g / (2 * y),)


@primitive
def power(x: np.ndarray, *, exponent: float) -> OutputAndVJPs:
    """Return x ** exponent for an integer (by products) or 1/2 (the square root); UsageError for another exponent."""
    if exponent == 0.5:
        return _square_root(x)
    if exponent != math.floor(exponent):
        raise UsageError(f"power: the exponent is {exponent}; give an integer or 0.5")
    n = int(exponent)
    return _integer_power(x, n), (lambda g: g * (n * _integer_power(x, n - 1)) if n else np.zeros_like(g),)


def _integer_power(x: np.ndarray, n: int) -> np.ndarray:
    """Return x ** n by squaring, from the leading bit of n down; 1 / x ** -n for n < 0."""
    if n < 0:
        return 1 / _integer_power(x, -n)
    if n == 0:
        return np.ones_like(x)
    y = x
    for bit in f"{n:b}"[1:]:
        y = y * y
        if bit == "1":
            y = y * x
    return y


@primitive(broadcasts=True)
def maximum(x: np.ndarray, y: np.ndarray) -> OutputAndVJPs:
    """Return the larger of x and y, and NaN where one is NaN. Equal elements share the gradient, as in torch."""
    return np.where((x >= y) | (x != x), x, y), (
        lambda g: np.where(x == y, g / 2, _kept((x > y) | (x != x), g)),
        lambda g: np.where(x == y, g / 2, _kept((x < y) | (y != y), g)))


@primitive(broadcasts=True)
def where(condition: np.ndarray, x: np.ndarray, y: np.ndarray) -> OutputAndVJPs:
    """Return x where the boolean array `condition` is True, y elsewhere."""
    return np.where(condition, x, y), (None, lambda g: _kept(condition, g), lambda g: _kept(~condition, g))


@primitive
def clip(x: np.ndarray, *, low: float = -math.inf, high: float = math.inf) -> OutputAndVJPs:
    """Return x limited to [low, high]; the gradient passes where low <= x <= high."""
    bottom, top = x.dtype.type(low), x.dtype.type(high)
    below, above = x < bottom, x > top
    return np.where(below, bottom, np.where(above, top, x)), (lambda g: _kept(~(below | above), g),)
