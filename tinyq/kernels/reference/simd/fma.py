"""The float32 fused multiply-add emulated exactly with float64, for the references."""
import numpy as np

_LOWER = np.int64((1 << 29) - 1)            # bits of a float64 that a float32 lacks
_HALF = np.int64(1 << 28)
_MAGNITUDE = np.int64((1 << 63) - 1)
_LEAST_NORMAL = np.uint64(1023 - 126 << 52)     # the bits of 2**-126 as a float64


def fma(a, b, c):
    """a * b + c: rounded once in float32; for float64 operands the plain expression (outside the bit promise).

    The product of two float32 is exact in float64. Its float64 sum with c is rounded to odd (the last bit is set
    when anything was lost), so that the second rounding, to float32, is the only one that shows (Boldo and
    Melquiond, "Emulation of FMA and correctly rounded sums", 2008). Sums that round alike either way are the rule, and
    need no more than that.
    """
    if np.result_type(a, b, c) == np.float64:
        return a * b + c
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        product = np.asarray(a, np.float64) * np.asarray(b, np.float64)
        c = np.asarray(c, np.float64)
        total = np.asarray(product + c)
        if not _rounding_twice_may_show(total):
            return total.astype(np.float32)
        part = total - product
        error = (product - (total - part)) + (c - part)             # Knuth's two-sum: exact
        return _round_to_odd(total, error).astype(np.float32)


def _rounding_twice_may_show(total):
    """Return True where a rounded sum lies half way between two float32, or is no normal number in float32.

    Elsewhere the exact sum lies on the same side of every such half way point, because these points are float64.
    """
    bits = total.view(np.int64)
    return bool((bits & _LOWER == _HALF).any()
                or ((bits & _MAGNITUDE).view(np.uint64) - np.uint64(1) < _LEAST_NORMAL - np.uint64(1)).any())


def _round_to_odd(total, error):
    """Round total + error to odd: where error is not 0, set the last bit of `total` by a step towards the exact sum."""
    bits = np.ascontiguousarray(total).view(np.int64).reshape(np.shape(total))
    inexact = (error != 0) & np.isfinite(total) & (bits & 1 == 0)
    away = np.where((error > 0) == (total > 0), 1, -1)               # towards larger or smaller magnitude
    return np.where(inexact, bits + away, bits).view(np.float64)
