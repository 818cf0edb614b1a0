"""Compute log, cos and sin in float64 from + - * / only: the same bits on every machine, unlike libm's.

They are slow, and serve what is not computed in bulk: normal random numbers and learning-rate schedules.
NumPy's elementwise + - * / and frexp round as IEEE-754 says, without fused operations.
"""
import numpy as np

PI = 3.141592653589793
_LN2 = 0.6931471805599453
_SQRT_HALF = 0.7071067811865476
_HALF_PI_HEAD = 1.5707963267341256          # pi/2 to 33 bits: small multiples of it are exact
_HALF_PI_TAIL = 6.077100506506192e-11       # the rest of pi/2


def log(x: np.ndarray | float) -> np.ndarray:
    """Compute the natural logarithm of x > 0, float64, within a few units in the last place.

    x = m * 2**e with m in [sqrt(1/2), sqrt(2)); log m = 2 atanh(t), t = (m - 1) / (m + 1).
    """
    m, e = np.frexp(np.asarray(x, np.float64))
    low = m < _SQRT_HALF
    m, e = np.where(low, m * 2, m), np.where(low, e - 1, e)
    t = (m - 1) / (m + 1)
    return e * _LN2 + 2 * t * _polynomial(t * t, [1 / (2 * k + 1) for k in range(12)])


def cos(x: np.ndarray | float) -> np.ndarray:
    """Compute the cosine of x in radians, float64, for |x| up to a few turns."""
    return _cos_or_sin(x, quarter_turns=0)


def sin(x: np.ndarray | float) -> np.ndarray:
    """Compute the sine of x in radians, float64, for |x| up to a few turns."""
    return _cos_or_sin(x, quarter_turns=-1)


def _cos_or_sin(x: np.ndarray | float, quarter_turns: int) -> np.ndarray:
    """cos(x + quarter_turns * pi / 2) by reduction to [-pi/4, pi/4] and Taylor series."""
    x = np.asarray(x, np.float64)
    nearest = np.floor(x * (2 / PI) + 0.5)
    r = (x - nearest * _HALF_PI_HEAD) - nearest * _HALF_PI_TAIL
    quadrant = (nearest.astype(np.int64) + quarter_turns) % 4
    r2 = r * r
    cosine = _polynomial(r2, _TAYLOR_COS)
    sine = r * _polynomial(r2, _TAYLOR_SIN)
    return np.where(quadrant % 2 == 0, cosine, sine) * np.where((quadrant == 1) | (quadrant == 2), -1.0, 1.0)


def _taylor(first: int) -> list[float]:
    """Coefficients of x**(2k): (-1)**k / (2k + first)!."""
    term, out = 1.0, []
    for k in range(10):
        out.append(term)
        term = -term / ((2 * k + 1 + first) * (2 * k + 2 + first))
    return out


_TAYLOR_COS, _TAYLOR_SIN = _taylor(0), _taylor(1)


def _polynomial(x: np.ndarray, coefficients: list[float]) -> np.ndarray:
    """Horner's rule."""
    total = np.zeros_like(x)
    for c in reversed(coefficients):
        total = total * x + c
    return total
