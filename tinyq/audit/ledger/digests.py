"""Digests of arrays as the ledger holds them: 128 bits at the speed of memory, or SHA-256.

The fast one finds every accident and names where it happened, but whoever wants to can make two arrays with one digest;
`--audit strong` takes SHA-256 instead, at some fifteen times the cost.
"""
import hashlib
from dataclasses import dataclass

import numpy as np

from tinyq import kernels

NO_WORDS = np.empty(0, np.uint32)
MANY = 128                              # arrays, from which on one letter each must do: a record is to stay under 2 KiB
LETTERS = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", np.uint8)


@dataclass(frozen=True)
class Digest:
    """Of a list of arrays: all of them (hexadecimal), and two letters for each, or one where they are MANY."""

    root: str
    leaves: str


def words_of(array):
    """The array's elements, in C order, as uint32 words (n,); a last word that they do not fill is filled with 0."""
    if array.flags.c_contiguous and not array.nbytes % 4:
        return np.frombuffer(array, np.uint32) if array.nbytes else NO_WORDS
    data = np.ascontiguousarray(array).tobytes()
    return np.frombuffer(data + bytes(-len(data) % 4), np.uint32)


class Fast:
    """Digests of 128 bits by tinyq.kernels.digest."""

    def __init__(self):
        """No array yet."""
        self.rows = []

    def add(self, array) -> None:
        """One more array; None counts as an empty one."""
        self.rows.append(kernels.digest(NO_WORDS if array is None else words_of(array)))

    def take(self) -> Digest:
        """The Digest of all arrays added since the last time."""
        rows = np.array(self.rows, np.uint64).reshape(-1, 2)
        self.rows = []
        root = kernels.digest(rows.view(np.uint32).reshape(-1))
        return Digest("".join(f"{half:016x}" for half in root.tolist()), _leaves(rows[:, 1]))


class Strong(Fast):
    """Digests of 256 bits by SHA-256, of type, shape and little-endian bytes."""

    def add(self, array) -> None:
        """One more array; None counts as an empty one."""
        array = np.ascontiguousarray(np.empty(0, np.uint32) if array is None else array)
        digest = hashlib.sha256(f"{array.dtype.str} {array.shape}\0".encode())
        digest.update(array.reshape(-1).view(np.uint8))
        self.rows.append(digest.digest())

    def take(self) -> Digest:
        """The Digest of all arrays added since the last time."""
        rows, self.rows = b"".join(self.rows), []
        firsts = np.frombuffer(rows, np.uint64).reshape(-1, 4)[:, 0]
        return Digest(hashlib.sha256(rows).hexdigest(), _leaves(firsts))


KINDS = {"seal": Fast, "full": Fast, "strong": Strong}


def digest_of(kind, arrays) -> Digest:
    """The Digest, of a kind in KINDS, of some arrays."""
    maker = KINDS[kind]()
    for array in arrays:
        maker.add(array)
    return maker.take()


def _leaves(numbers):
    shifts = np.array([6, 0] if len(numbers) < MANY else [0], np.uint64)
    return LETTERS[(numbers[:, None] >> shifts & np.uint64(63)).astype(np.intp)].tobytes().decode()


def differing(leaves, others, count) -> list[int]:
    """Which of `count` arrays have other letters in `others`; the last one where those are of more or fewer arrays."""
    width = 2 if count < MANY else 1
    found = [i for i in range(count) if leaves[i * width:(i + 1) * width] != others[i * width:(i + 1) * width]]
    return found or [count - 1] * (len(leaves) != len(others))
