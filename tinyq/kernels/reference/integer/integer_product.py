"""Reference of convolutions and linear layers of integer codes: sums by a floating-point product that is exact.

Every partial sum is a whole number that the floating-point type holds exactly, so no order of summation changes it.
"""
import numpy as np
from numpy.lib.stride_tricks import as_strided

EXACT_SINGLE, EXACT_DOUBLE = 1 << 24, 1 << 53           # whole numbers below are exact in float32, in float64


def exact_floats(levels, max_code: int):
    """Integer levels (outputs, ...) as floats of the narrowest type that holds every partial sum of codes times levels.

    max_code: the largest magnitude of a code.
    """
    max_sum = np.abs(levels.astype(np.int64)).reshape(len(levels), -1).sum(axis=1).max() * max_code
    assert max_sum < EXACT_DOUBLE
    return levels.astype(np.float32 if max_sum < EXACT_SINGLE else np.float64)


def product(x, w, geometry=None, padding=0):
    """int64 sums of codes times levels, before they are requantised: (n, outputs), or (n, outputs, oh, ow).

    x: codes (n, k), or (n, c, h, w) with the geometry of one sample; w: exact_floats; padding: the code that stands
    around an image.
    """
    x = x.astype(w.dtype)
    return (x @ w.T if geometry is None else _convolved(x, w, geometry, padding)).astype(np.int64)


def _convolved(x, w, geometry, padding):
    (py, px), (sy, sx), (dy, dx) = geometry.padding, geometry.stride, geometry.dilation
    x = np.pad(x, ((0, 0), (0, 0), (py, py), (px, px)), constant_values=padding)
    (oh, ow), (m, c, kh, kw) = geometry.output_size, w.shape
    groups, n = geometry.groups, len(x)
    sn, sc, sh, sw = x.strides
    y = np.empty((n, m, oh, ow), w.dtype)
    for g in range(groups):
        image, rows = x[:, g * c:(g + 1) * c], slice(g * m // groups, (g + 1) * m // groups)
        taps = as_strided(image, (n, oh, ow, c, kh, kw), (sn, sh * sy, sw * sx, sc, sh * dy, sw * dx), writeable=False)
        y[:, rows] = (taps.reshape(n * oh * ow, -1) @ w[rows].reshape(m // groups, -1).T).reshape(
            n, oh, ow, -1).transpose(0, 3, 1, 2)
    return y
