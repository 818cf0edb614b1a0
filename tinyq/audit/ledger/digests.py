"""Digest arrays for the ledger: 256 bits that nobody can make collide, or 128 at the speed of memory.

A replay starts from samples, input, weights and the state of the method, or is judged by them: their digest is one for
which no two different arrays with equal digests are known. The results of primitives and vjps, and gradients, get the
fast digest: a replay recomputes them from the others, and their digests only name the first that differs.
"""
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice

import numpy as np

from tinyq import kernels

NO_WORDS, NO_ROWS = np.empty(0, np.uint32), np.empty(0, np.uint64)
SMALL = 1 << 14                         # words
MANY = 128                              # from this many arrays, one letter per array keeps a record under 2 KiB
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
PAIRS = [first + second for first in LETTERS for second in LETTERS]


@dataclass(frozen=True)
class Digest:
    """The digest of a list of arrays."""

    root: str                           # of all arrays, hexadecimal
    leaves: str                         # two letters (12 bits) per array, one from MANY arrays up


def words_of(array: np.ndarray | None) -> np.ndarray:
    """Return the array's bytes in C order as uint32 words (n,), the last word padded with 0; none for None."""
    if array is None or not array.nbytes:
        return NO_WORDS
    if array.flags.c_contiguous and not array.nbytes % 4:
        return np.frombuffer(array, np.uint32)
    data = np.ascontiguousarray(array).tobytes()
    return np.frombuffer(data + bytes(-len(data) % 4), np.uint32)


class FastDigests:
    """Digest arrays to 128 bits each with tinyq.kernels.digest."""

    def __init__(self):
        self.rows = []

    def add(self, array: np.ndarray | None) -> None:
        """Add an array; None counts as an empty one."""
        self.rows.append(kernels.digest(words_of(array)))

    def take(self) -> Digest:
        """Return the Digest of the arrays added since the last call."""
        rows, self.rows = np.concatenate([NO_ROWS, *self.rows]), []
        root = kernels.digest(rows.view(np.uint32))
        return Digest("".join([f"{half:016x}" for half in root.tolist()]), _leaves(rows[1::2]))


class SHA256Digests(FastDigests):
    """Digest arrays with SHA-256, over type, shape and little-endian bytes."""

    def add(self, array: np.ndarray | None) -> None:
        """Add an array; None counts as an empty one."""
        self.rows += _sha256_rows([array])

    def take(self) -> Digest:
        """Return the Digest of the arrays added since the last call."""
        rows, self.rows = self.rows, []
        return _joined(rows)


def digests_of(kind: str, *lists: Sequence[np.ndarray | None]) -> list[Digest]:
    """Return the Digest of each list of arrays; kind: a key of KINDS."""
    rows = iter(KINDS[kind]([array for arrays in lists for array in arrays]))
    return [_joined(list(islice(rows, len(arrays)))) for arrays in lists]


def digest_of(kind: str, arrays: Iterable[np.ndarray | None]) -> Digest:
    """Return the Digest of some arrays; kind: a key of KINDS."""
    return digests_of(kind, list(arrays))[0]


def _tree_rows(arrays):
    """Return 256 bits per array: SHA-256 over the chaining values of tinyq.kernels and the number of words.

    Small arrays share a call of the kernel, which would cost more than their bytes.
    """
    words = [words_of(array) for array in arrays]
    small = [array for array in words if array.size < SMALL]
    shared = iter(kernels.chaining_values(np.concatenate(small), [*accumulate(map(len, small))]) if small else ())
    values = [next(shared) if array.size < SMALL else kernels.chaining_values(array) for array in words]
    return [hashlib.sha256(row.tobytes() + array.size.to_bytes(8, "little")).digest()
            for row, array in zip(values, words, strict=True)]


def _sha256_rows(arrays):
    rows = []
    for array in arrays:
        array = np.ascontiguousarray(NO_WORDS if array is None else array)
        digest = hashlib.sha256(f"{array.dtype.str} {array.shape}\0".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
        rows.append(digest.digest())
    return rows


def _joined(rows):
    joined = b"".join(rows)
    return Digest(hashlib.sha256(joined).hexdigest(), _leaves(np.frombuffer(joined, np.uint64)[::4]))


def _leaves(numbers):
    letters = PAIRS if len(numbers) < MANY else LETTERS
    return "".join([letters[number % len(letters)] for number in numbers.tolist()])


# By the value of --audit: digests of what a replay is judged by, and of what names the first difference.
KINDS = {"digests": _tree_rows, "full": _tree_rows, "sha256": _sha256_rows}
NAMING_KINDS: dict[str, type[FastDigests]] = {"digests": FastDigests, "full": FastDigests, "sha256": SHA256Digests}


def differing(leaves: str, others: str, count: int) -> list[int]:
    """Return the indices of `count` arrays whose letters differ; the last one where the numbers of arrays differ."""
    width = 2 if count < MANY else 1
    found = [i for i in range(count) if leaves[i * width:(i + 1) * width] != others[i * width:(i + 1) * width]]
    return found or [count - 1] * (len(leaves) != len(others))
