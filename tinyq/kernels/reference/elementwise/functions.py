"""References of exp, log, tanh and sigmoid: float32 by the kernels' polynomials, float64 by NumPy's functions."""
import numpy as np

from tinyq.kernels.elementwise.polynomials import (
    EXP,
    EXP_HIGH,
    EXP_LOW,
    HALF,
    LN2_HIGH,
    LN2_LOW,
    LOG,
    LOG2_E,
    MIN_NORMAL,
    ONE,
    ROUNDER,
    ROUNDER_BITS,
    SQRT_HALF_BITS,
    TANH,
    TANH_HIGH,
    TANH_SPLIT,
    TO_NORMAL,
    TWO,
)
from tinyq.kernels.reference.simd.fma import fma


def exp(x: np.ndarray) -> np.ndarray:
    """e**x elementwise; 2**n * e**r, n the integer nearest to x / log 2, 2**n in two factors."""
    with np.errstate(all="ignore"):
        return np.asarray(np.exp(x) if x.dtype == np.float64 else _exp(x), order="C")


def log(x: np.ndarray) -> np.ndarray:
    """Natural logarithm elementwise: e log 2 + log m, m in [sqrt(1/2), sqrt(2)); -inf at 0, NaN below."""
    with np.errstate(all="ignore"):
        return np.asarray(np.log(x) if x.dtype == np.float64 else _log(x), order="C")


def tanh(x: np.ndarray) -> np.ndarray:
    """Hyperbolic tangent elementwise: a polynomial near 0, 1 - 2 / (e**2|x| + 1) with x's sign beyond."""
    with np.errstate(all="ignore"):
        return np.asarray(np.tanh(x) if x.dtype == np.float64 else _tanh(x), order="C")


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + e**-x) elementwise from z = e**-|x|, which never overflows."""
    with np.errstate(all="ignore"):
        z = exp(-np.abs(x))
        top = np.where(x < 0, z, ONE)
        return np.asarray(top / (1 + z) if x.dtype == np.float64 else _refined_quotient(top, z), order="C")


def _exp(x):
    x = np.where(x > EXP_HIGH, EXP_HIGH, np.where(x < EXP_LOW, EXP_LOW, x))
    shifted = fma(x, LOG2_E, ROUNDER)
    n = shifted - ROUNDER
    near = fma(n, -LN2_HIGH, x)
    r = fma(n, -LN2_LOW, near)
    lost = fma(n, -LN2_LOW, near - r)
    one_r = ONE + r
    value = one_r + fma(r * r, _horner(EXP, r), (r - (one_r - ONE)) + lost)
    exponent = shifted.view(np.int32) - ROUNDER_BITS
    half = exponent >> 1
    return value * _power_of_two(half) * _power_of_two(exponent - half)


def _power_of_two(n):
    return ((n + np.int32(127)) << np.int32(23)).view(np.float32)


def _log(x):
    subnormal = x < MIN_NORMAL
    bits = np.where(subnormal, x * TO_NORMAL, x).view(np.int32)
    exponent = (bits - SQRT_HALF_BITS) >> np.int32(23)
    f = (bits - (exponent << np.int32(23))).view(np.float32) - ONE
    n = np.where(subnormal, exponent - np.int32(25), exponent).astype(np.float32)
    square = f * f
    small = fma(n, LN2_LOW, fma(square * f, _horner(LOG, f), -HALF * square))
    y = fma(n, LN2_HIGH, f + small)
    y = np.where((x == np.inf) | np.isnan(x), x, y)
    return np.where(x == 0, np.float32(-np.inf), np.where(x < 0, np.float32(np.nan), y))


def _tanh(x):
    size = np.abs(x)
    square = x * x
    near = fma(square * x, _horner(TANH, square), x)
    far = ONE - TWO / (_exp(TWO * np.where(size > TANH_HIGH, TANH_HIGH, size)) + ONE)
    y = np.where(size <= TANH_SPLIT, near, np.where(x < 0, -far, far))
    return np.where(x == 0, x, y)


def _refined_quotient(top, z):
    """top / (1 + z) with what the sum and the quotient lost to rounding taken back."""
    below = ONE + z
    lost = z - (below - ONE)
    inverse = ONE / below
    y = top * inverse
    return fma(fma(-y, below, top) - y * lost, inverse, y)


def _horner(coefficients, x):
    """Return the polynomial's value, one fused multiply-add per coefficient."""
    value = coefficients[-1]
    for c in coefficients[-2::-1]:
        value = fma(value, x, c)
    return value
