"""Reference implementations of products with prepacked weights: their parts, one after the other."""
import numpy as np

from tinyq.kernels.reference.elementwise.activation import relu as rectified
from tinyq.kernels.reference.gemm.coded_weights import MAX_LEVELS, CodedRows, code_rows, sum_of_products
from tinyq.kernels.reference.gemm.conv import conv2d, taps
from tinyq.kernels.reference.gemm.matmul import matmul


def pack_weights(w, groups, pixels=None):
    """Return the weights as they are."""
    return w


def code_weights(w, groups, levels, pixels=None):
    """Return the weights in codes."""
    return code_rows(w, levels) if len(levels) <= MAX_LEVELS else w


def conv2d_packed(x, packed, geometry, scale, shift, added, relu, into=None, first=0):
    """Compute conv2d, the addition and the ReLU; copy the result to `into` if given."""
    if isinstance(packed, CodedRows):
        y = _convolved(x, packed, geometry) * scale[:, None, None] + shift[:, None, None]
    else:
        y = conv2d(x, packed, geometry, scale, shift)
    y = y if added is None else y + added
    y = rectified(y) if relu else y
    if into is None:
        return y
    target = into[:, first:first + y.shape[1]]
    target[...] = y
    return target


def _convolved(x, w, geometry):
    (oh, ow), (c_out, c, _, _), groups = geometry.output_size, w.shape, geometry.groups
    y, m = np.empty((len(x), c_out, oh, ow), x.dtype), c_out // groups
    for g in range(groups):
        part, rows = x[:, g * c:(g + 1) * c], (g * m, (g + 1) * m)
        y[:, slice(*rows)] = sum_of_products(w, *rows, taps(part, geometry), np.zeros_like(y[:, :m]), part)
    return y


def pack_linear(w):
    """Return the weights as they are."""
    return w


def code_linear(w, levels):
    """Return the weights in codes."""
    return code_rows(w, levels) if len(levels) <= MAX_LEVELS else w


def linear_packed(x, packed, scale, shift, relu):
    """matmul, the affine, and the ReLU."""
    if isinstance(packed, CodedRows):
        zero = np.zeros((len(x), packed.shape[0]), x.dtype)
        sums = sum_of_products(packed, 0, packed.shape[0], lambda k: x[:, k, None], zero, x)
    else:
        sums = matmul(x, packed.T)
    y = sums * scale + shift
    return rectified(y) if relu else y
