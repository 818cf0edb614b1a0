"""Reference of convolutions and linear layers of integer codes: sums by a floating-point product that is exact.

Every partial sum is a whole number that the floating-point type holds exactly, so no order of summation changes it.
"""
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tinyq.kernels.reference.gemm.coded_weights import MAX_LEVELS, CodedRows, code_rows

EXACT_SINGLE, EXACT_DOUBLE = 1 << 24, 1 << 53           # whole numbers below are exact in float32, in float64
DECODED = 1 << 18                                       # weights that are floats at a time


@dataclass(frozen=True, eq=False)
class IntegerRows:
    """Integer levels (outputs, ...) in codes, or as int8 where they are many; decoded as floats of `dtype`."""

    held: CodedRows | np.ndarray
    dtype: np.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weights."""
        return self.held.shape

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self.held.nbytes

    def floats(self, first: int, last: int) -> np.ndarray:
        """Return rows `first` to `last` as (rows, k)."""
        if isinstance(self.held, CodedRows):
            return self.held.values(first, last, 0, int(np.prod(self.shape[1:])))
        return self.held[first:last].reshape(last - first, -1).astype(self.dtype)


def exact_rows(levels, max_code: int) -> IntegerRows:
    """Hold integer levels (outputs, ...) as floats of the narrowest type that holds every sum of codes times levels.

    max_code: the largest magnitude of a code.
    """
    max_sum = np.abs(levels.astype(np.int64)).reshape(len(levels), -1).sum(axis=1).max() * max_code
    assert max_sum < EXACT_DOUBLE
    dtype, values = np.dtype(np.float32 if max_sum < EXACT_SINGLE else np.float64), np.unique(levels)
    return IntegerRows(code_rows(levels, values.astype(dtype)) if len(values) <= MAX_LEVELS else levels, dtype)


def product(x, w: IntegerRows, geometry=None, padding=0):
    """int64 sums of codes times levels, before they are requantised: (n, outputs), or (n, outputs, oh, ow).

    x: codes (n, k), or (n, c, h, w) with the geometry of one sample; padding: the code that stands around an image.
    """
    x = x.astype(w.dtype)
    return (_multiplied(x, w, 0, w.shape[0]) if geometry is None else _convolved(x, w, geometry, padding)).astype(
        np.int64)


def _multiplied(x, w, first, last):
    """Multiply x (places, k) by rows `first` to `last`, as many at a time as DECODED allows."""
    y, at_once = np.empty((len(x), last - first), w.dtype), max(1, DECODED // max(1, x.shape[1]))
    for start in range(first, last, at_once):
        stop = min(start + at_once, last)
        np.matmul(x, w.floats(start, stop).T, out=y[:, start - first:stop - first])
    return y


def _convolved(x, w, geometry, padding):
    (py, px), (sy, sx), (dy, dx) = geometry.padding, geometry.stride, geometry.dilation
    x = np.pad(x, ((0, 0), (0, 0), (py, py), (px, px)), constant_values=padding)
    (oh, ow), (m, c, kh, kw) = geometry.output_size, w.shape
    groups, n = geometry.groups, len(x)
    sn, sc, sh, sw = x.strides
    y = np.empty((n, m, oh, ow), w.dtype)
    for g in range(groups):
        image, rows = x[:, g * c:(g + 1) * c], (g * m // groups, (g + 1) * m // groups)
        taps = as_strided(image, (n, oh, ow, c, kh, kw), (sn, sh * sy, sw * sx, sc, sh * dy, sw * dx), writeable=False)
        y[:, slice(*rows)] = _multiplied(taps.reshape(n * oh * ow, -1), w, *rows).reshape(
            n, oh, ow, -1).transpose(0, 3, 1, 2)
    return y
