"""Compute functions in float64 from + - * / only: the same bits on every machine, unlike libm's.

They are slow, and serve what is rarely computed in bulk: normal random numbers, learning-rate schedules, and the
operations of a network that have no kernel. NumPy's elementwise + - * /, floor, frexp and ldexp round as IEEE-754 says,
without fused operations.
"""
import functools
import math

import numpy as np

PI = 3.141592653589793
_LN2 = 0.6931471805599453
_SQRT_HALF = 0.7071067811865476
_HALF_PI_HEAD = 1.5707963267341256          # pi/2 to 33 bits: small multiples of it are exact
_HALF_PI_TAIL = 6.077100506506192e-11       # the rest of pi/2
_MANY_TURNS = 1e6                           # beyond it, in radians, multiples of the head are not exact
_PI_BITS = 1200                             # enough for the largest float64, below 2**1024
_LOG2_E = 1.4426950408889634
_LN2_HEAD = 0.693147180369123816490         # log 2 to 33 bits
_LN2_TAIL = 1.90821492927058770002e-10


def log(x: np.ndarray | float) -> np.ndarray:
    """Compute the natural logarithm of x > 0, float64, within a few units in the last place.

    x = m * 2**e with m in [sqrt(1/2), sqrt(2)); log m = 2 atanh(t), t = (m - 1) / (m + 1).
    """
    m, e = np.frexp(np.asarray(x, np.float64))
    low = m < _SQRT_HALF
    m, e = np.where(low, m * 2, m), np.where(low, e - 1, e)
    t = (m - 1) / (m + 1)
    return e * _LN2 + 2 * t * _polynomial(t * t, [1 / (2 * k + 1) for k in range(12)])


def log1p(x: np.ndarray | float) -> np.ndarray:
    """Compute log(1 + x), float64; accurate near 0, -inf at -1, NaN below.

    Near 0 it is 2 atanh(t), t = x / (2 + x).
    """
    x = np.asarray(x, np.float64)
    with np.errstate(all="ignore"):
        t = x / (2 + x)
        near = 2 * t * _polynomial(t * t, [1 / (2 * k + 1) for k in range(12)])
        return np.where((x > -0.29) & (x < 0.41), np.where(x == 0, x, near), real_log(1 + x))


def real_log(x: np.ndarray | float) -> np.ndarray:
    """Compute the natural logarithm of any x, float64: -inf at 0, NaN below."""
    x = np.asarray(x, np.float64)
    with np.errstate(all="ignore"):
        usual = (x > 0) & (x < np.inf)
        return np.where(usual, log(np.where(usual, x, 1)), np.where(x == 0, -np.inf, np.where(x > 0, x, np.nan)))


def exp(x: np.ndarray | float) -> np.ndarray:
    """Compute e**x, float64: 2**n * e**r, n the integer nearest to x / log 2, and the Taylor series of e**r."""
    r, n = _without_powers_of_two(x)
    with np.errstate(all="ignore"):
        return np.ldexp(1 + r * _polynomial(r, _TAYLOR_EXPM1), n)


def expm1(x: np.ndarray | float) -> np.ndarray:
    """Compute e**x - 1, float64; accurate near 0."""
    x = np.asarray(x, np.float64)
    with np.errstate(all="ignore"):
        near = np.where(abs(x) < 0.35, x, 0)
        return np.where(abs(x) < 0.35, near * _polynomial(near, _TAYLOR_EXPM1), exp(x) - 1)


def _without_powers_of_two(x: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Return (r, n) with e**x = 2**n * e**r, |r| <= log(2) / 2; beyond float64's range the r and n of its ends."""
    x = np.asarray(x, np.float64)
    x = np.where(x > 710, 710, np.where(x < -746, -746, x))             # a NaN stays one
    n = np.floor(x * _LOG2_E + 0.5)
    return (x - n * _LN2_HEAD) - n * _LN2_TAIL, np.where(n == n, n, 0).astype(np.int32)


def power(x: np.ndarray | float, y: np.ndarray | float) -> np.ndarray:
    """Compute x**y, float64, to about 1e-13: e**(y log |x|) with the sign; NaN for x < 0 and a y that is not whole."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    with np.errstate(all="ignore"):
        size = np.where((y == 0) | (abs(x) == 1), 1.0, exp(y * real_log(abs(x))))
        whole, odd = np.floor(y) == y, np.floor(y / 2) * 2 != y
        sized = np.where(whole & odd & (np.copysign(1, x) < 0), -size, size)
        return np.where((x < 0) & (x > -np.inf) & ~whole, np.nan, sized)


def normal_cdf(x: np.ndarray | float) -> np.ndarray:
    """Compute the distribution function of the standard normal, float64, to about 1e-13 of itself in both tails.

    For z = |x| / sqrt(2), erfc(z) = e**(-z z) W(z), and (1 + 2 z) W(z) is a polynomial of (z - 3) / (z + 3).
    """
    x = np.asarray(x, np.float64)
    z = np.where(abs(x) < 40, abs(x), 40) * math.sqrt(0.5)
    tail = 0.5 * exp(-z * z) * (_polynomial((z - 3) / (z + 3), _ERFCX) / (1 + 2 * z))
    return np.where(x != x, x, np.where(x > 0, 1 - tail, tail))


def cos(x: np.ndarray | float) -> np.ndarray:
    """Compute the cosine of x in radians, float64, within 4e-16; NaN for an infinity."""
    return _cos_or_sin(x, quarter_turns=0)


def sin(x: np.ndarray | float) -> np.ndarray:
    """Compute the sine of x in radians, float64, within 4e-16; NaN for an infinity."""
    return _cos_or_sin(x, quarter_turns=-1)


def _cos_or_sin(x: np.ndarray | float, quarter_turns: int) -> np.ndarray:
    """cos(x + quarter_turns * pi / 2) by reduction to [-pi/4, pi/4] and Taylor series."""
    x = np.asarray(x, np.float64)
    few = abs(x) < _MANY_TURNS
    usual = np.where(few, x, 0)
    nearest = np.asarray(np.floor(usual * (2 / PI) + 0.5))
    r = np.asarray((usual - nearest * _HALF_PI_HEAD) - nearest * _HALF_PI_TAIL)
    for index in np.argwhere(~few):
        nearest[tuple(index)], r[tuple(index)] = _reduced_exactly(x[tuple(index)].item())
    quadrant = (nearest.astype(np.int64) + quarter_turns) % 4
    r2 = r * r
    cosine = _polynomial(r2, _TAYLOR_COS)
    sine = r * _polynomial(r2, _TAYLOR_SIN)
    return np.where(quadrant % 2 == 0, cosine, sine) * np.where((quadrant == 1) | (quadrant == 2), -1.0, 1.0)


def _reduced_exactly(x: float) -> tuple[float, float]:
    """Return (n modulo 4, x - n pi / 2) for the nearest n, with pi in _PI_BITS bits; (0, NaN) for a NaN or infinity."""
    if not math.isfinite(x):
        return 0.0, math.nan
    numerator, denominator = x.as_integer_ratio()
    half_pi = _pi() // 2
    n, rest = divmod((numerator << _PI_BITS) // denominator + half_pi // 2, half_pi)
    return float(n % 4), (rest - half_pi // 2) / (1 << _PI_BITS)


@functools.cache
def _pi() -> int:
    """Return pi * 2**_PI_BITS: 16 atan(1/5) - 4 atan(1/239) (Machin), with 32 more bits for the roundings."""
    def arctangent(inverse: int) -> int:
        total, term, k = 0, (1 << _PI_BITS + 32) // inverse, 0
        while term:
            total += (term if k % 2 == 0 else -term) // (2 * k + 1)
            term, k = term // inverse**2, k + 1
        return total

    return 16 * arctangent(5) - 4 * arctangent(239) >> 32


def _taylor(first: int) -> list[float]:
    """Coefficients of x**(2k): (-1)**k / (2k + first)!."""
    term, out = 1.0, []
    for k in range(10):
        out.append(term)
        term = -term / ((2 * k + 1 + first) * (2 * k + 2 + first))
    return out


_TAYLOR_COS, _TAYLOR_SIN = _taylor(0), _taylor(1)
_TAYLOR_EXPM1 = [1 / math.factorial(k + 1) for k in range(14)]             # of (e**r - 1) / r
# Of (1 + 2 z) e**(z z) erfc(z) in (z - 3) / (z + 3), z >= 0: interpolation in Chebyshev's nodes, relative error 5e-16.
_ERFCX = [
    1.2530080582697296, -0.13562110612457573, -0.04756229435344576, 0.129645158702281, -0.11927366341575335,
    0.06830802735644051, -0.02377051490712486, 0.0025293916666211625, 0.0018886902217603342, -0.000779831276440303,
    -0.000105158888745708, 0.00012509529969692863, 4.945791788878783e-06, -2.0089974601937562e-05,
    -7.218910913909693e-07, 3.4542640815449015e-06, 3.4040811203344006e-07, -5.963735757072212e-07,
    -1.232972365581405e-07, 8.764763429942915e-08, 2.900096033455807e-08, -7.639805706660184e-09,
    -3.3911975149641994e-09]


def _polynomial(x: np.ndarray, coefficients: list[float]) -> np.ndarray:
    """Horner's rule."""
    total = np.zeros_like(x)
    for c in reversed(coefficients):
        total = total * x + c
    return total
