"""Encode codes in bytes: row by row, the first code in the lowest bits, padded with zero bits.

A code is the index of a level in its ascending set. The schemes:

    b1, b2, b4, b8   1, 2, 4, 8 bits per code; code j of a row begins at bit j * bits of the row
    p3               three bit planes per row, each as in b1: 3 bits per code
    t243             five ternary codes per byte, sum of code_i * 3^i: 1.6 bits per code
"""
from dataclasses import dataclass

import numpy as np

from tinyq.errors import BadInput


@dataclass(frozen=True)
class Bits:
    """`bits` per code, a divisor of 8."""

    name: str
    bits: int

    @property
    def max_levels(self) -> int:
        """Number of different codes."""
        return 1 << self.bits

    def row_bytes(self, k: int) -> int:
        """Return the bytes of a row of k codes."""
        return -(-k * self.bits // 8)

    def encode(self, codes: np.ndarray) -> np.ndarray:
        """Encode codes (rows, k) uint8 as (rows, row_bytes) uint8."""
        each = _padded(codes, 8 // self.bits)
        return (each << _shifts(self.bits)).sum(axis=2, dtype=np.uint8)

    def decode(self, encoded: np.ndarray, k: int) -> np.ndarray:
        """Decode codes (rows, k) uint8; BadInput where the padding is not zero."""
        codes = (encoded[:, :, None] >> _shifts(self.bits)) & np.uint8((1 << self.bits) - 1)
        return _without_padding(codes, k)


class BitPlanes:
    """Three planes of one bit per code."""

    name, max_levels, planes = "p3", 8, 3

    def row_bytes(self, k: int) -> int:
        """Return the bytes of a row of k codes."""
        return self.planes * -(-k // 8)

    def encode(self, codes: np.ndarray) -> np.ndarray:
        """Encode as Bits.encode does."""
        return np.concatenate([_ONE_BIT.encode(codes >> plane & 1) for plane in range(self.planes)], axis=1)

    def decode(self, encoded: np.ndarray, k: int) -> np.ndarray:
        """Decode as Bits.decode does."""
        planes = np.split(encoded, self.planes, axis=1)
        codes = [_ONE_BIT.decode(bits, k) << np.uint8(i) for i, bits in enumerate(planes)]
        return codes[0] | codes[1] | codes[2]


class Trits:
    """Five ternary codes per byte."""

    name, max_levels = "t243", 3
    _POWERS = (3 ** np.arange(5)).astype(np.uint8)

    def row_bytes(self, k: int) -> int:
        """Return the bytes of a row of k codes."""
        return -(-k // 5)

    def encode(self, codes: np.ndarray) -> np.ndarray:
        """Encode as Bits.encode does."""
        return (_padded(codes, 5) * self._POWERS).sum(axis=2, dtype=np.uint8)

    def decode(self, encoded: np.ndarray, k: int) -> np.ndarray:
        """Decode as Bits.decode does; BadInput also where a byte is above 242."""
        if encoded.size and encoded.max() >= 243:
            raise BadInput("a byte above 242 is not five ternary codes")
        return _without_padding(encoded[:, :, None] // self._POWERS % np.uint8(3), k)


Scheme = Bits | BitPlanes | Trits
_ONE_BIT = Bits("b1", 1)
SCHEMES: dict[str, Scheme] = {
    s.name: s for s in (_ONE_BIT, Bits("b2", 2), BitPlanes(), Bits("b4", 4), Bits("b8", 8), Trits())}


def choose_scheme(levels: int, trits: bool = False) -> Scheme:
    """Return the smallest scheme with whole bits for `levels` levels; with `trits`, t243 for three levels."""
    if trits and levels == 3:
        return SCHEMES["t243"]
    return next(s for s in SCHEMES.values() if s.max_levels >= levels)


def decode(encoded: np.ndarray, scheme: Scheme, k: int, levels: int) -> np.ndarray:
    """Decode codes (rows, k) uint8; BadInput unless all are below `levels`."""
    codes = scheme.decode(encoded, k)
    if codes.size and codes.max() >= levels:
        raise BadInput(f"code {codes.max()} is not one of the {levels} levels")
    return codes


def _padded(codes, group):
    """Reshape to (rows, groups, group), with zeros after the last code."""
    rows, k = codes.shape
    padded = np.zeros((rows, -(-k // group), group), np.uint8)
    padded.reshape(rows, -1)[:, :k] = codes
    return padded


def _without_padding(codes, k):
    codes = codes.reshape(len(codes), -1)
    if codes[:, k:].any():
        raise BadInput("padding bits of a row are not zero")
    return np.ascontiguousarray(codes[:, :k])


def _shifts(bits):
    return np.arange(0, 8, bits, dtype=np.uint8)
