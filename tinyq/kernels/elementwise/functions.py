"""exp, log, tanh and sigmoid of float32 within 2 units in the last place, from fused multiply-adds alone.

No libm: its results differ between machines. `polynomials.py` holds the fits.
"""
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
from tinyq.kernels.geometry.spans import SPAN, map_elements
from tinyq.kernels.jit.compile import njit, part, prange
from tinyq.kernels.simd.fma import fma

ZERO = np.float32(0)
INFINITY = np.float32(np.inf)
NOT_A_NUMBER = np.float32(np.nan)


def exp(x: np.ndarray) -> np.ndarray:
    """e**x elementwise, float32 of x's shape; 0 and inf beyond the range, subnormal results included."""
    return map_elements(_exp_span, _exp_parallel, x)


def log(x: np.ndarray) -> np.ndarray:
    """Natural logarithm elementwise, float32 of x's shape; -inf at 0, NaN below."""
    return map_elements(_log_span, _log_parallel, x)


def tanh(x: np.ndarray) -> np.ndarray:
    """Hyperbolic tangent elementwise, float32 of x's shape."""
    return map_elements(_tanh_span, _tanh_parallel, x)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + e**-x) elementwise, float32 of x's shape; accurate in both tails."""
    return map_elements(_sigmoid_span, _sigmoid_parallel, x)


@part
def exp_of(x):
    """e**x of one float32: 2**n * e**r, n the integer nearest to x / log 2.

    The rounding errors of r and of 1 + r are added back; 2**n is split into two factors, so that only the last
    multiplication rounds a subnormal result.
    """
    x = EXP_HIGH if x > EXP_HIGH else (EXP_LOW if x < EXP_LOW else x)
    shifted = fma(x, LOG2_E, ROUNDER)
    n = shifted - ROUNDER
    near = fma(n, -LN2_HIGH, x)
    r = fma(n, -LN2_LOW, near)
    p = fma(fma(fma(fma(EXP[4], r, EXP[3]), r, EXP[2]), r, EXP[1]), r, EXP[0])
    lost = fma(n, -LN2_LOW, near - r)
    one_r = ONE + r
    value = one_r + fma(r * r, p, (r - (one_r - ONE)) + lost)
    exponent = np.int32(np.float32(shifted).view(np.int32) - ROUNDER_BITS)
    half = np.int32(exponent >> 1)
    return value * _power_of_two(half) * _power_of_two(np.int32(exponent - half))


@part
def _power_of_two(n):
    """2**n as float32 for int32 n within the normal range."""
    return np.int32((n + 127) << 23).view(np.float32)


@part
def log_of(x):
    """log of one float32: e log 2 + log m, m in [sqrt(1/2), sqrt(2))."""
    subnormal = x < MIN_NORMAL
    bits = np.float32(x * TO_NORMAL if subnormal else x).view(np.int32)
    exponent = np.int32((bits - SQRT_HALF_BITS) >> 23)
    f = np.int32(bits - (exponent << 23)).view(np.float32) - ONE
    n = np.float32(exponent - 25 if subnormal else exponent)
    p = fma(fma(fma(fma(LOG[8], f, LOG[7]), f, LOG[6]), f, LOG[5]), f, LOG[4])
    p = fma(fma(fma(fma(p, f, LOG[3]), f, LOG[2]), f, LOG[1]), f, LOG[0])
    square = f * f
    small = fma(n, LN2_LOW, fma(square * f, p, -HALF * square))
    y = fma(n, LN2_HIGH, f + small)
    y = x if x == INFINITY or x != x else y
    return -INFINITY if x == ZERO else (NOT_A_NUMBER if x < ZERO else y)


@part
def tanh_of(x):
    """tanh of one float32: a polynomial near 0, 1 - 2 / (e**2|x| + 1) with x's sign beyond."""
    size = abs(x)
    square = x * x
    p = fma(fma(fma(fma(TANH[4], square, TANH[3]), square, TANH[2]), square, TANH[1]), square, TANH[0])
    near = fma(square * x, p, x)
    size = TANH_HIGH if size > TANH_HIGH else size
    far = ONE - TWO / (exp_of(TWO * size) + ONE)
    y = near if size <= TANH_SPLIT else (-far if x < ZERO else far)
    return x if x == ZERO else y                                     # -0 stays -0


@part
def sigmoid_of(x):
    """Sigmoid of one float32 from z = e**-|x|, which never overflows: z / (1 + z) for x < 0, else 1 / (1 + z).

    One Newton step corrects the rounding errors of the sum 1 + z and of the quotient.
    """
    z = exp_of(-abs(x))
    top = z if x < ZERO else ONE
    below = ONE + z
    lost = z - (below - ONE)
    inverse = ONE / below
    y = top * inverse
    return fma(fma(-y, below, top) - y * lost, inverse, y)


@njit
def _exp_span(x, y):
    for i in range(x.size):
        y[i] = exp_of(x[i])


@njit
def _log_span(x, y):
    for i in range(x.size):
        y[i] = log_of(x[i])


@njit
def _tanh_span(x, y):
    for i in range(x.size):
        y[i] = tanh_of(x[i])


@njit
def _sigmoid_span(x, y):
    for i in range(x.size):
        y[i] = sigmoid_of(x[i])


@njit(parallel=True)
def _exp_parallel(x, y):
    for i in prange(-(-x.size // SPAN)):
        _exp_span(x[i * SPAN:(i + 1) * SPAN], y[i * SPAN:(i + 1) * SPAN])


@njit(parallel=True)
def _log_parallel(x, y):
    for i in prange(-(-x.size // SPAN)):
        _log_span(x[i * SPAN:(i + 1) * SPAN], y[i * SPAN:(i + 1) * SPAN])


@njit(parallel=True)
def _tanh_parallel(x, y):
    for i in prange(-(-x.size // SPAN)):
        _tanh_span(x[i * SPAN:(i + 1) * SPAN], y[i * SPAN:(i + 1) * SPAN])


@njit(parallel=True)
def _sigmoid_parallel(x, y):
    for i in prange(-(-x.size // SPAN)):
        _sigmoid_span(x[i * SPAN:(i + 1) * SPAN], y[i * SPAN:(i + 1) * SPAN])
