"""Reference of the matrix product, which defines what the register tiles compute."""
import numpy as np

from tinyq.kernels.contract import KC
from tinyq.kernels.reference.simd.fma import fma


def matmul(a, b):
    """a (m, k) @ b (k, n): k ascending in blocks, each a chain of fused multiply-adds from +0, the blocks added up."""
    zero = np.zeros((a.shape[0], b.shape[1]), a.dtype)
    return sum_products(lambda k: (a[:, k, None], b[k]), range(a.shape[1]), zero)


def sum_products(factors, indices, zero):
    """Return the contract's sum over k in `indices`, ascending, of the products of the two arrays factors(k).

    `zero` gives shape and dtype. Products left out (their factor is a padding zero) leave the sum as it is, and keep
    the blocks where they were.
    """
    total, block, current = zero, zero, 0
    for k in indices:
        if k // KC != current:
            total, block, current = total + block, zero, k // KC
        a, b = factors(k)
        block = fma(a, b, block)
    return total + block
