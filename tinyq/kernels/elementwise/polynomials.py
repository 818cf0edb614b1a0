"""The polynomials behind exp, log and tanh: a kernel and its reference share them to the last bit.

Minimax fits of this project (Lawson's iteration on Chebyshev nodes, relative error of the whole function as weight),
the coefficients rounded to float32 one after another from the lowest, the rest refitted each time.
Ascending powers; the comment gives the error in units of the result's last place before any rounding.
"""
import numpy as np


def _singles(*values):
    return tuple(np.float32(v) for v in values)


# exp(r) = 1 + r + r^2 EXP(r), |r| <= log(2)/2: 0.05 ulp
EXP = _singles(0.49999994, 0.16666521, 0.041668274, 0.008368686, 0.0013820138)

# log(1 + f) = f - f^2/2 + f^3 LOG(f), sqrt(1/2) <= 1 + f < sqrt(2): 0.02 ulp
LOG = _singles(
    0.33333313, -0.2500001, 0.20002072, -0.1666799, 0.14220363, -0.12406208, 0.11883471, -0.11670183, 0.06749539)

# tanh(x) = x + x^3 TANH(x^2), |x| <= TANH_SPLIT: 0.08 ulp
TANH = _singles(-0.3333328, 0.1333141, -0.053737268, 0.020631723, -0.005697346)
TANH_SPLIT = np.float32(0.625)

ONE = np.float32(1)
TWO = np.float32(2)
HALF = np.float32(0.5)
LOG2_E = np.float32(1.44269504)
# log(2) in two parts: n * LN2_HIGH is exact for every exponent n.
LN2_HIGH = np.float32(0.693359375)
LN2_LOW = np.float32(-2.12194440e-4)

# Adding ROUNDER leaves the nearest integer in the low bits of a float32 (|integer| < 2^22, ties to even).
ROUNDER = np.float32(1.5 * 2**23)
ROUNDER_BITS = np.int32(ROUNDER.view(np.int32))

# exp is 0 below and inf above; in between its exponent fits the two factors that build it.
EXP_LOW, EXP_HIGH = np.float32(-104.5), np.float32(89)
# tanh is 1 to float32's precision from here on.
TANH_HIGH = np.float32(9.1)

MIN_NORMAL = np.float32(2.0**-126)
TO_NORMAL = np.float32(2.0**25)
SQRT_HALF_BITS = np.int32(np.float32(0.70710678).view(np.int32))
