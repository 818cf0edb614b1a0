"""One unit of a block of samples: loops over contiguous rows of BLOCK elements, compiled to a few vector operations."""
import numpy as np

from tinyq.kernels.jit.compile import njit
from tinyq.kernels.search.tables import BLOCK


@njit
def copy(out, x):
    """out = x."""
    for s in range(BLOCK):
        out[s] = x[s]


@njit
def add_constant(out, x, number):
    """out = x + number."""
    for s in range(BLOCK):
        out[s] = x[s] + number


@njit
def add_product(out, x, w, y):
    """out = x + w y."""
    for s in range(BLOCK):
        out[s] = x[s] + w * y[s]


@njit
def add_products(out, x, weights, units, first, count, source):
    """out = x + the sum over `count` taps of weights[t] source[first + units[t]], four at a time."""
    done = count % 4
    if count == 0:
        copy(out, x)
    for t in range(done):
        add_product(out, out if t else x, weights[t], source[first + units[t]])
    for t in range(done, count, 4):
        _add_four(out, out if t else x, weights[t], source[first + units[t]],
                  weights[t + 1], source[first + units[t + 1]], weights[t + 2], source[first + units[t + 2]],
                  weights[t + 3], source[first + units[t + 3]])


@njit
def _add_four(out, x, w0, y0, w1, y1, w2, y2, w3, y3):
    for s in range(BLOCK):
        out[s] = x[s] + (w0 * y0[s] + w1 * y1[s]) + (w2 * y2[s] + w3 * y3[s])


@njit
def add(out, x):
    """out = out + x."""
    for s in range(BLOCK):
        out[s] = out[s] + x[s]


@njit
def add_positive(out, x):
    """out = out + max(x, 0)."""
    for s in range(BLOCK):
        out[s] = out[s] + (x[s] if x[s] > 0 else 0)


@njit
def raise_to(out, x):
    """out = max(out, x)."""
    for s in range(BLOCK):
        out[s] = x[s] if x[s] > out[s] else out[s]


@njit
def rectify(out):
    """out = max(out, 0)."""
    for s in range(BLOCK):
        out[s] = out[s] if out[s] > 0 else 0


@njit
def difference(out, x, y):
    """out = x - y; returns whether any of it is not 0."""
    different = np.int32(0)
    for s in range(BLOCK):
        out[s] = x[s] - y[s]
        different |= np.int32(x[s] != y[s])
    return different != 0


@njit
def is_zero(x):
    """Return True if the whole row is 0."""
    different = np.int32(0)
    for s in range(BLOCK):
        different |= np.int32(x[s] != 0)
    return different == 0


@njit
def normalise(out, x, affine):
    """out = (x factor - offset) gamma + beta."""
    factor, offset, gamma, beta = affine
    for s in range(BLOCK):
        out[s] = (x[s] * factor - offset) * gamma + beta
