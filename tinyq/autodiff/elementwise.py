"""Elementwise primitives, with broadcasting where there are two inputs.

IEEE arithmetic fixes the bits of + - * / sqrt, remainders and comparisons, which are NumPy's; exp, log, tanh and
sigmoid are kernels. np.where selects, because np.maximum may return either zero of +0 and -0.
"""
import math
from collections.abc import Callable

import numpy as np

from tinyq import kernels, portable
from tinyq.autodiff.primitives import OutputAndVJPs, Primitive, in_float64, primitive
from tinyq.autodiff.tensors import NUMBERS, Operand, Tensor


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


def _of_output(name: str, says: str, function: Callable[..., np.ndarray],
               vjp: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Primitive[Tensor]:
    """Declare the primitive of a function of one array; vjp(g, y) needs the output y alone, so that x is not kept."""
    def forward(x: np.ndarray) -> OutputAndVJPs:
        y = function(x)
        return y, (lambda g: vjp(g, y),)

    forward.__name__, forward.__doc__ = name, f"Return {says}."
    return primitive(forward)


exp = _of_output("exp", "e ** x", lambda x: kernels.exp(x), lambda g, y: g * y)
tanh = _of_output("tanh", "the hyperbolic tangent of x", lambda x: kernels.tanh(x), lambda g, y: g * (1 - y * y))
sigmoid = _of_output("sigmoid", "1 / (1 + e ** -x)", lambda x: kernels.sigmoid(x), lambda g, y: g * (y * (1 - y)))
sqrt = _of_output("sqrt", "the square root of x", np.sqrt, lambda g, y: g / (2 * y))


@primitive
def log(x: np.ndarray) -> OutputAndVJPs:
    """Return the natural logarithm."""
    return kernels.log(x), (lambda g: g / x,)


@primitive
def power(x: np.ndarray, *, exponent: float) -> OutputAndVJPs:
    """Return x ** exponent: of an integer by products, of 1/2 by the square root, else by logarithms in float64."""
    if exponent == 0.5:
        return sqrt.forward(x)
    if exponent != math.floor(exponent):
        y, vjps = float_power.forward(x, np.asarray(float(exponent)))
        return y, vjps[:1]
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
@in_float64
def float_power(x: np.ndarray, y: np.ndarray) -> OutputAndVJPs:
    """Return x ** y, NaN for a negative x and a y that is not whole."""
    z = portable.power(x, y)
    return z, (lambda g: np.where(y == 0, 0, g * y * portable.power(x, y - 1)),
               lambda g: np.where((x == 0) & (y >= 0), 0, g * (z * portable.real_log(x))))


def pow(x: Operand, y: Operand) -> Tensor:
    """Return x ** y for tensors and numbers."""
    return power(x, exponent=y) if isinstance(y, NUMBERS) else float_power(x, y)


@primitive(broadcasts=True)
def remainder(x: np.ndarray, y: np.ndarray) -> OutputAndVJPs:
    """Return x - y * floor(x / y), which has the sign of y, exactly."""
    return np.remainder(x, y), (_same, lambda g: -g * np.floor_divide(x, y))


@primitive(broadcasts=True)
def floor_divide(x: np.ndarray, y: np.ndarray) -> OutputAndVJPs:
    """Return floor(x / y); no gradient."""
    return np.floor_divide(x, y), (None, None)


@primitive(broadcasts=True)
def maximum(x: np.ndarray, y: np.ndarray) -> OutputAndVJPs:
    """Return the larger of x and y, and NaN where one is NaN. Equal elements share the gradient, as in torch."""
    return _chosen((x >= y) | (x != x), x, y)


@primitive(broadcasts=True)
def minimum(x: np.ndarray, y: np.ndarray) -> OutputAndVJPs:
    """Return the smaller of x and y, and NaN where one is NaN. Equal elements share the gradient, as in torch."""
    return _chosen((x <= y) | (x != x), x, y)


def _chosen(first: np.ndarray, x: np.ndarray, y: np.ndarray) -> OutputAndVJPs:
    """Return x where `first` is True, else y."""
    return np.where(first, x, y), (lambda g: np.where(x == y, g / 2, _kept(first, g)),
                                   lambda g: np.where(x == y, g / 2, _kept(~first, g)))


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
