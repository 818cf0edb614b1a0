"""Reference of the affine behind integer sums, in int64."""
import numpy as np


def rounded(v, shift: int):
    """v / 2^shift, rounded half to even; v int64 with |v| below 2^62, shift at least 1."""
    return (v + ((1 << (shift - 1)) - 1) + ((v >> shift) & 1)) >> shift


def requantise(sums, multiplier, offset, shift: int, low: int, high: int, added=None, added_multiplier: int = 0,
               added_shift: int = 0):
    """code = clamp(round((sum * multiplier + offset + (added * added_multiplier << added_shift)) / 2^shift)), int64.

    sums int64; multiplier and offset integers that broadcast against them; added: codes of the sums' shape or None.
    """
    v = sums * np.asarray(multiplier, np.int64) + offset
    if added is not None:
        v += (added.astype(np.int64) * added_multiplier) << added_shift
    return np.clip(rounded(v, shift), low, high)
