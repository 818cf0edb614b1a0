"""Reference implementations of products with prepacked weights: their parts, one after the other."""
from tinyq.kernels.reference.elementwise.activation import relu as rectified
from tinyq.kernels.reference.gemm.conv import conv2d
from tinyq.kernels.reference.gemm.matmul import matmul


def pack_weights(w, groups, pixels=None):
    """Return the weights as they are."""
    return w


def code_weights(w, groups, levels, pixels=None):
    """Return the weights as they are."""
    return w


def conv2d_packed(x, packed, geometry, scale, shift, added, relu, into=None, first=0):
    """Compute conv2d, the addition and the ReLU; copy the result to `into` if given."""
    y = conv2d(x, packed, geometry, scale, shift)
    y = y if added is None else y + added
    y = rectified(y) if relu else y
    if into is None:
        return y
    target = into[:, first:first + y.shape[1]]
    target[...] = y
    return target


def pack_linear(w):
    """Return the weights as they are."""
    return w


def code_linear(w, levels):
    """Return the weights as they are."""
    return w


def linear_packed(x, packed, scale, shift, relu):
    """matmul, the affine, and the ReLU."""
    y = matmul(x, packed.T) * scale + shift
    return rectified(y) if relu else y
