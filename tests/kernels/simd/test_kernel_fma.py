"""The emulated fused multiply-add rounds once, as exact rational arithmetic says and as the CPU's own does."""
from fractions import Fraction

import numpy as np
from numba import njit

from tinyq.kernels.reference.simd.fma import fma
from tinyq.kernels.simd import fma as fused
from tinyq.streams import Streams


def rounded(exact: Fraction) -> np.float32:
    """The float32 nearest to a rational, ties to even."""
    if exact == 0:
        return np.float32(0)
    magnitude, exponent = abs(exact), -149
    while magnitude / Fraction(2) ** exponent >= 2**24:
        exponent += 1
    units = magnitude / Fraction(2) ** exponent
    whole, rest = divmod(units, 1)
    whole += rest > Fraction(1, 2) or (rest == Fraction(1, 2) and whole % 2)
    return np.float32(float(whole * Fraction(2) ** exponent) * (1 if exact > 0 else -1))


def hard_cases(count):
    """Operands of mixed magnitude, where the product nearly cancels or lies half way between two float32."""
    stream = Streams(1).key("fma")
    a, b = (stream.normal(count).astype(np.float32) for _ in range(2))
    near = -(a.astype(np.float64) * b).astype(np.float32)
    scale = np.float32(2.0) ** stream.integers(-30, 30, count).astype(np.float32)
    c = np.where(stream.uniform(count) < 0.5, near, stream.normal(count).astype(np.float32) * scale)
    return a, b, c.astype(np.float32)


def test_emulation_rounds_the_exact_value_once():
    a, b, c = hard_cases(3000)
    got = fma(a, b, c)
    for i in range(len(a)):
        exact = Fraction(float(a[i])) * Fraction(float(b[i])) + Fraction(float(c[i]))
        assert got[i] == rounded(exact), (a[i], b[i], c[i])


def test_half_way_cases_that_double_rounding_gets_wrong():
    one, ulp = np.float32(1), np.float32(2.0**-23)
    a, b = np.float32(1 + 2.0**-12), np.float32(2.0**-24)
    c = one + ulp
    assert fma(a, b, c) == np.float32(1 + 2 * 2.0**-23)          # just above half way: up
    assert fma(-a, b, one + 2 * ulp) == one + ulp                 # just below half way: down


def test_emulation_is_the_cpus_instruction():
    @njit
    def native(a, b, c, out):
        for i in range(a.size):
            out[i] = fused.fma(a[i], b[i], c[i])

    a, b, c = hard_cases(200_000)
    tiny = np.float32(1e-38)
    for x, y, z in ((a, b, c), (a * tiny, b, c * tiny * np.float32(1e-6))):          # the second: subnormal results
        out = np.empty_like(x)
        native(x, y, z, out)
        assert np.array_equal(out.view(np.int32), fma(x, y, z).view(np.int32))


def test_one_sum_of_many_that_rounding_twice_changes_is_rounded_once():
    a, b, c = (np.ones(9, np.float32) for _ in range(3))
    a[4], b[4], c[4] = 1 + 2.0**-12, 2.0**-24, 1 + 2.0**-23
    assert fma(a, b, c)[4] == np.float32(1 + 2 * 2.0**-23) and (np.delete(fma(a, b, c), 4) == 2).all()
    for factor in (1, 1 + 2.0**-12, 1 - 2.0**-12):                  # about half of the least number, beside an odd one
        a[4], b[4], c[4] = 2.0**-75 * factor, 2.0**-75, 2.0**-149
        assert fma(a, b, c)[4] == rounded(Fraction(float(a[4])) * Fraction(2) ** -75 + Fraction(2) ** -149)
