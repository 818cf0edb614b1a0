"""One unit of a block of samples: loops of BLOCK turns over contiguous rows, which become a few vector instructions."""
import numpy as np

from tinyq.kernels.compile import njit
from tinyq.kernels.search_layout import BLOCK


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
def overtake(top, winner, x, k):
    """Where x is larger than top: top = x and winner = k."""
    for s in range(BLOCK):
        winner[s] = k if x[s] > top[s] else winner[s]
        top[s] = x[s] if x[s] > top[s] else top[s]
