"""Digest arrays for the ledger: 256 bits that nobody can make collide, or 128 at the speed of memory.

A replay starts from samples, input, weights and the state of the method, or is judged by them: their digest is one for
which no two different arrays with equal digests are known. The results of primitives and vjps, and gradients, get the
fast digest: a replay recomputes them from the others, and their digests only name the first that differs.
"""
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tinyq import kernels

NO_WORDS = np.empty(0, np.uint32)
MANY = 128                              # from this many arrays, one letter per array keeps a record under 2 KiB
LETTERS = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", np.uint8)


@dataclass(frozen=True)
class Digest:
    """The digest of a list of arrays."""

    root: str                           # of all arrays, hexadecimal
    leaves: str                         # two letters (12 bits) per array, one from MANY arrays up


def words_of(array: np.ndarray) -> np.ndarray:
    """Return the array's bytes in C order as uint32 words (n,), the last word padded with 0."""
    if array.flags.c_contiguous and not array.nbytes % 4:
        return np.frombuffer(array, np.uint32) if array.nbytes else NO_WORDS
    data = np.ascontiguousarray(array).tobytes()
    return np.frombuffer(data + bytes(-len(data) % 4), np.uint32)


class FastDigests:
    """Digest arrays to 128 bits each with tinyq.kernels.digest."""

    def __init__(self):
        self.rows = []

    def add(self, array: np.ndarray | None) -> None:
        """Add an array; None counts as an empty one."""
        self.rows.append(kernels.digest(NO_WORDS if array is None else words_of(array)))

    def take(self) -> Digest:
        """Return the Digest of the arrays added since the last call."""
        rows = np.array(self.rows, np.uint64).reshape(-1, 2)
        self.rows = []
        root = kernels.digest(rows.view(np.uint32).reshape(-1))
        return Digest("".join(f"{half:016x}" for half in root.tolist()), _leaves(rows[:, 1]))


class TreeDigests(FastDigests):
    """Digest arrays to 256 bits each: SHA-256 over the chaining values of tinyq.kernels and the number of words."""

    def add(self, array: np.ndarray | None) -> None:
        """Add an array; None counts as an empty one."""
        words = NO_WORDS if array is None else words_of(array)
        values = kernels.chaining_values(words)
        self.rows.append(hashlib.sha256(values.tobytes() + words.size.to_bytes(8, "little")).digest())

    def take(self) -> Digest:
        """Return the Digest of the arrays added since the last call."""
        rows, self.rows = b"".join(self.rows), []
        firsts = np.frombuffer(rows, np.uint64).reshape(-1, 4)[:, 0]
        return Digest(hashlib.sha256(rows).hexdigest(), _leaves(firsts))


class SHA256Digests(TreeDigests):
    """Digest arrays with SHA-256, over type, shape and little-endian bytes."""

    def add(self, array: np.ndarray | None) -> None:
        """Add an array; None counts as an empty one."""
        array = np.ascontiguousarray(np.empty(0, np.uint32) if array is None else array)
        digest = hashlib.sha256(f"{array.dtype.str} {array.shape}\0".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
        self.rows.append(digest.digest())


# By the value of --audit: digests of what a replay is judged by, and of what names the first difference.
KINDS: dict[str, type[FastDigests]] = {"digests": TreeDigests, "full": TreeDigests, "sha256": SHA256Digests}
NAMING_KINDS: dict[str, type[FastDigests]] = {"digests": FastDigests, "full": FastDigests, "sha256": SHA256Digests}


def digest_of(kind: str, arrays: Iterable[np.ndarray | None]) -> Digest:
    """Return the Digest of some arrays; kind: a key of KINDS."""
    maker = KINDS[kind]()
    for array in arrays:
        maker.add(array)
    return maker.take()


def _leaves(numbers):
    shifts = np.array([6, 0] if len(numbers) < MANY else [0], np.uint64)
    return LETTERS[(numbers[:, None] >> shifts & np.uint64(63)).astype(np.intp)].tobytes().decode()


def differing(leaves: str, others: str, count: int) -> list[int]:
    """Return the indices of `count` arrays whose letters differ; the last one where the numbers of arrays differ."""
    width = 2 if count < MANY else 1
    found = [i for i in range(count) if leaves[i * width:(i + 1) * width] != others[i * width:(i + 1) * width]]
    return found or [count - 1] * (len(leaves) != len(others))
