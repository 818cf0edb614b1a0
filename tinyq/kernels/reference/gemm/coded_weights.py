"""Weights in codes for NumPy: rows of 1, 2 or 4 bits per weight, decoded block by block where a product reads them."""
from dataclasses import dataclass

import numpy as np

from tinyq.kernels.contract import KC
from tinyq.kernels.reference.simd.fma import fma

BITS = (1, 2, 4)                            # per code
MAX_LEVELS = 1 << BITS[-1]
_LEAST_NORMAL = 2.0**-126
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class CodedRows:
    """Weights of `shape`, a row per output: codes (rows, bytes) uint8 of `bits` each, and their values (levels,)."""

    codes: np.ndarray
    levels: np.ndarray
    bits: int
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self.codes.nbytes + self.levels.nbytes

    def values(self, first: int, last: int, start: int, stop: int) -> np.ndarray:
        """Decode columns `start`, a multiple of 8, to `stop` of rows `first` to `last`, in the dtype of the levels."""
        each = 8 // self.bits
        codes = np.arange(256)[:, None] >> np.arange(0, 8, self.bits) & (1 << self.bits) - 1
        of_byte = self.levels[np.minimum(codes, len(self.levels) - 1)]
        found = of_byte[self.codes[first:last, start // each:-(-stop // each)]]
        return found.reshape(last - first, -1)[:, :stop - start]


def code_rows(w: np.ndarray, levels: np.ndarray) -> CodedRows:
    """Encode weights (rows, ...) that are levels, of which there are at most MAX_LEVELS, ascending."""
    bits = next(b for b in BITS if len(levels) <= 1 << b)
    codes = np.searchsorted(levels, w.reshape(len(w), -1)).astype(np.uint8)
    padded = np.zeros((len(w), -(-codes.shape[1] * bits // 8), 8 // bits), np.uint8)
    padded.reshape(len(w), -1)[:, :codes.shape[1]] = codes
    packed = (padded << np.arange(0, 8, bits, dtype=np.uint8)).sum(axis=2, dtype=np.uint8)
    return CodedRows(packed, np.array(levels), bits, w.shape)


@np.errstate(all="ignore")
def sum_of_products(w: CodedRows, first: int, last: int, taps, zero: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the contract's sums over k of rows `first` to `last` times taps(k), which is broadcast along the outputs.

    zero (n, rows, ...): zeros of the output's shape. x: all that the taps hold.
    """
    k, total, product = int(np.prod(w.shape[1:])), zero, np.empty_like(zero)
    exact, places = products_are_exact(w.levels, x), (1,) * (zero.ndim - 2)
    for start in range(0, k, KC):
        columns, block = w.values(first, last, start, min(start + KC, k)), np.zeros_like(zero)
        for j in range(columns.shape[1]):
            a, b = columns[:, j].reshape(-1, *places), taps(start + j)
            if exact:                       # then an addition alone rounds, as in a fused multiply-add
                np.add(block, np.multiply(a, b, out=product), out=block)
            else:
                block = fma(a, b, block)
        total = total + block
    return total


def products_are_exact(levels: np.ndarray, x: np.ndarray) -> bool:
    """Return True where float32 holds each product of a level and an x: of powers of two, in the normal range."""
    if levels.dtype != np.float32 or x.dtype != np.float32 or not x.size:
        return False
    factors, sizes = np.abs(levels[levels != 0]), np.abs(x)
    if not factors.size:
        return bool(np.isfinite(sizes).all())
    if (np.frexp(factors)[0] != 0.5).any() or not sizes.max() * float(factors.max()) <= _LARGEST:
        return False
    least = sizes.min(where=sizes > 0, initial=np.inf)
    return bool(float(least) * float(factors.min()) >= _LEAST_NORMAL)
