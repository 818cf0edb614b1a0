"""Codes in bytes: each row of a weight's codes on its own, the first code in the lowest bits, padded with zero bits.

A code is the index of a level in its ascending set. The schemes:

    b1, b2, b4, b8   1, 2, 4, 8 bits a code, code j of a row in bits j * bits ... of the row
    p3               three bit planes a row, each laid out as b1: 3 bits a code
    t243             five ternary codes a byte, sum of code_i * 3^i: 1.6 bits a code
"""
from dataclasses import dataclass

import numpy as np

from tinyq.errors import BadInput


@dataclass(frozen=True)
class Bits:
    """`bits` (a divisor of 8) for each code."""

    name: str
    bits: int

    @property
    def most_levels(self) -> int:
        """How many levels its codes tell apart."""
        return 1 << self.bits

    def row_bytes(self, k: int) -> int:
        """Of k codes."""
        return -(-k * self.bits // 8)

    def pack(self, codes):
        """(rows, k) uint8 codes to (rows, row_bytes) uint8."""
        each = _padded(codes, 8 // self.bits)
        return (each << _shifts(self.bits)).sum(axis=2, dtype=np.uint8)

    def unpack(self, packed, k: int):
        """The codes (rows, k) uint8; BadInput where the padding is not zero."""
        codes = (packed[:, :, None] >> _shifts(self.bits)) & np.uint8((1 << self.bits) - 1)
        return _without_padding(codes, k)


class BitPlanes:
    """Three planes of one bit a code."""

    name, most_levels, planes = "p3", 8, 3

    def row_bytes(self, k: int) -> int:
        """Of k codes."""
        return self.planes * -(-k // 8)

    def pack(self, codes):
        """See Bits.pack."""
        return np.concatenate([_ONE_BIT.pack(codes >> plane & 1) for plane in range(self.planes)], axis=1)

    def unpack(self, packed, k: int):
        """See Bits.unpack."""
        planes = np.split(packed, self.planes, axis=1)
        return sum((_ONE_BIT.unpack(bits, k) << np.uint8(i) for i, bits in enumerate(planes)), np.uint8(0))


class Trits:
    """Five ternary codes a byte."""

    name, most_levels = "t243", 3
    _POWERS = (3 ** np.arange(5)).astype(np.uint8)

    def row_bytes(self, k: int) -> int:
        """Of k codes."""
        return -(-k // 5)

    def pack(self, codes):
        """See Bits.pack."""
        return (_padded(codes, 5) * self._POWERS).sum(axis=2, dtype=np.uint8)

    def unpack(self, packed, k: int):
        """See Bits.unpack; BadInput too where a byte is above 242."""
        if packed.size and packed.max() >= 243:
            raise BadInput("a byte above 242 is not five ternary codes")
        return _without_padding(packed[:, :, None] // self._POWERS % np.uint8(3), k)


_ONE_BIT = Bits("b1", 1)
SCHEMES = {s.name: s for s in (_ONE_BIT, Bits("b2", 2), BitPlanes(), Bits("b4", 4), Bits("b8", 8), Trits())}


def scheme_for(levels: int, trits: bool = False):
    """The smallest scheme with whole bits for this many levels; `trits`: t243 where there are three."""
    if trits and levels == 3:
        return SCHEMES["t243"]
    return next(s for s in SCHEMES.values() if s.most_levels >= levels)


def unpack(packed, scheme, k: int, levels: int):
    """Codes (rows, k) uint8, all below `levels`; BadInput otherwise."""
    codes = scheme.unpack(packed, k)
    if codes.size and codes.max() >= levels:
        raise BadInput(f"code {codes.max()} stands for none of the {levels} levels")
    return codes


def _padded(codes, group):
    """(rows, groups, group), zeros behind the last code."""
    rows, k = codes.shape
    padded = np.zeros((rows, -(-k // group), group), np.uint8)
    padded.reshape(rows, -1)[:, :k] = codes
    return padded


def _without_padding(codes, k):
    codes = codes.reshape(len(codes), -1)
    if codes[:, k:].any():
        raise BadInput("bits beyond a row's last code are not zero")
    return np.ascontiguousarray(codes[:, :k])


def _shifts(bits):
    return np.arange(0, 8, bits, dtype=np.uint8)
