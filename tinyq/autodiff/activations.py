"""Functions of one array, element by element, and dropout.

Each function of the table is computed in float64 by portable.py and rounded once, in pieces that stay in the cache.
"""
from collections.abc import Callable

import numpy as np

from tinyq import portable
from tinyq.autodiff.elementwise import mul, sigmoid
from tinyq.autodiff.primitives import OutputAndVJPs, Primitive, primitive
from tinyq.autodiff.tensors import Tensor

PIECE = 1 << 14                         # elements
Function = Callable[..., np.ndarray]


def rounded(function: Function, *arrays: np.ndarray) -> np.ndarray:
    """Return function(*arrays) of arrays of one shape, computed in float64 and rounded to their dtype."""
    y, flat = np.empty(arrays[0].shape, arrays[0].dtype), [a.reshape(-1) for a in arrays]
    with np.errstate(all="ignore"):
        for i in range(0, y.size, PIECE):
            y.reshape(-1)[i:i + PIECE] = function(*(a[i:i + PIECE].astype(np.float64) for a in flat))
    return y


def _declared(name: str, says: str, function: Function, slope: Function) -> Primitive[Tensor]:
    """Declare the primitive of a function of float64 arrays; slope: its derivative."""
    def forward(x: np.ndarray) -> OutputAndVJPs:
        return rounded(function, x), (lambda g: rounded(lambda g, x: g * slope(x), g, x),)

    forward.__name__, forward.__doc__ = name, f"Return {says}."
    return primitive(forward)


sin = _declared("sin", "the sine of x in radians", portable.sin, portable.cos)
cos = _declared("cos", "the cosine of x in radians", portable.cos, lambda x: -portable.sin(x))
log1p = _declared("log1p", "log(1 + x), accurate near 0", portable.log1p, lambda x: 1 / (1 + x))
expm1 = _declared("expm1", "e ** x - 1, accurate near 0", portable.expm1, portable.exp)
softplus = _declared("softplus", "log(1 + e ** x), without overflow", lambda x: np.where(x > 0, x, 0) + portable.log1p(
    portable.exp(-np.abs(x))), lambda x: 1 / (1 + portable.exp(-x)))
floor = _declared("floor", "the largest whole number up to x; the gradient is 0", np.floor, np.zeros_like)
ceil = _declared("ceil", "the smallest whole number from x on; the gradient is 0", np.ceil, np.zeros_like)
round = _declared("round", "the nearest whole number, of two the even one; the gradient is 0", np.rint, np.zeros_like)
sign = _declared("sign", "-1, 0 or 1, the sign of x; the gradient is 0", np.sign, np.zeros_like)


@primitive
def leaky_relu(x: np.ndarray, *, slope: float = 0.01) -> OutputAndVJPs:
    """Return x where x > 0, slope * x elsewhere."""
    low = x.dtype.type(slope)
    return np.where(x > 0, x, low * x), (lambda g: np.where(x > 0, g, low * g),)


@primitive
def elu(x: np.ndarray, *, alpha: float = 1.0) -> OutputAndVJPs:
    """Return x where x > 0, alpha * (e ** x - 1) elsewhere (Clevert et al., 2016)."""
    return rounded(lambda x: np.where(x > 0, x, alpha * portable.expm1(x)), x), (
        lambda g: rounded(lambda g, x: np.where(x > 0, g, g * alpha * portable.exp(x)), g, x),)


@primitive
def gelu(x: np.ndarray, *, approximate: str = "none") -> OutputAndVJPs:
    """Return x * P(z < x), z a standard normal (Hendrycks and Gimpel, 2016); approximate: "tanh" for their formula."""
    if approximate not in ("none", "tanh"):
        raise ValueError(f"approximate is {approximate!r}; it must be 'none' or 'tanh'")
    cdf, density = (portable.normal_cdf, _density) if approximate == "none" else (_tanh_cdf, _tanh_density)
    return rounded(lambda x: x * cdf(x), x), (lambda g: rounded(lambda g, x: g * (cdf(x) + x * density(x)), g, x),)


def _density(x):
    return portable.exp(-x * x / 2) / np.sqrt(2 * portable.PI)


def _tanh_cdf(x):
    """(1 + tanh(z / 2)) / 2 for the approximation's z: the logistic function of z."""
    return 1 / (1 + portable.exp(-np.sqrt(8 / portable.PI) * (x + 0.044715 * x * x * x)))


def _tanh_density(x):
    y = _tanh_cdf(x)
    return y * (1 - y) * np.sqrt(8 / portable.PI) * (1 + 3 * 0.044715 * x * x)


def silu(x: Tensor) -> Tensor:
    """Return x * sigmoid(x)."""
    return mul(x, sigmoid(x))


@primitive
def dropout(x: np.ndarray, *, p: float, mask: np.ndarray) -> OutputAndVJPs:
    """Return x / (1 - p) where the boolean array `mask` is True, 0 elsewhere (Srivastava et al., 2014).

    p: probability of a zero.
    """
    if mask.shape != x.shape:
        raise ValueError(f"the mask has shape {mask.shape}, not {x.shape}")
    zero = x.dtype.type(0)
    scale = x.dtype.type(1 / (1 - p) if p < 1 else 0)
    return np.where(mask, x * scale, zero), (lambda g: np.where(mask, g * scale, zero),)
