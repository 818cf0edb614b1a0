"""Digest arrays for the ledger: 256 bits that nobody can make collide, or 128 at the speed of memory.

A replay starts from samples, input, weights and the state of the method, or is judged by them: their digest is one for
which no two different arrays with equal digests are known. The results of primitives and vjps, and gradients, get the
fast digest: a replay recomputes them from the others, and their digests only name the first that differs.
"""
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import Any

import numpy as np

from tinyq import kernels

NO_WORDS = np.empty(0, np.uint32)
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
    """Arrays digested to 128 bits each with tinyq.kernels.digest.

    Small arrays are copied and share a call of the kernel, which would cost more than their bytes.
    """

    def __init__(self):
        """Begin without arrays."""
        self.clear()

    def clear(self) -> None:
        """Forget all arrays."""
        self.rows: list[Any] = []                           # of the large ones, each (1, 2) uint64
        self.small: list[np.ndarray] = []                   # words
        self.is_small: list[bool] = []                      # of each array, in the order of `add`

    def add(self, array: np.ndarray | None) -> None:
        """Add an array; None counts as an empty one."""
        words = words_of(array)
        small = words.size < SMALL
        self.is_small.append(small)
        if small:
            self.small.append(words.copy())
        else:
            self.rows.append(kernels.digest(words))

    @staticmethod
    def joined(collected: Sequence["FastDigests"]) -> list[Digest]:
        """Return the Digest of the arrays in each of `collected`, with one call of the kernel for all small ones."""
        is_small = np.array([small for digests in collected for small in digests.is_small], bool)
        rows = np.empty((len(is_small), 2), np.uint64)
        for places, found in ((is_small, _one_after_another(kernels.digest, [a for d in collected for a in d.small])),
                              (~is_small, [row for d in collected for row in d.rows])):
            if len(found):
                rows[places] = np.reshape(found, (-1, 2))
        ends = [*accumulate(len(digests.is_small) for digests in collected)]
        roots = kernels.digest(rows.reshape(-1).view(np.uint32), [4 * end for end in ends]).tolist()
        leaves = rows[:, 1].tolist()
        return [Digest(f"{first:016x}{second:016x}", _leaves(leaves[start:end]))
                for (first, second), start, end in zip(roots, [0, *ends], ends, strict=False)]


class SHA256Digests(FastDigests):
    """Arrays digested with SHA-256, over type, shape and little-endian bytes."""

    def add(self, array: np.ndarray | None) -> None:
        """Add an array; None counts as an empty one."""
        self.rows += _sha256_rows([array])

    @staticmethod
    def joined(collected: Sequence[FastDigests]) -> list[Digest]:
        """Return the Digest of the arrays in each of `collected`."""
        return [_joined(digests.rows) for digests in collected]


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
    shared = iter(_one_after_another(kernels.chaining_values, small))
    values = [next(shared) if array.size < SMALL else kernels.chaining_values(array) for array in words]
    return [hashlib.sha256(row.tobytes() + array.size.to_bytes(8, "little")).digest()
            for row, array in zip(values, words, strict=True)]


def _one_after_another(kernel, arrays):
    """Return kernel(words, ends) of these arrays of words; () for none."""
    return kernel(np.concatenate(arrays), [*accumulate(map(len, arrays))]) if arrays else ()


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
    return Digest(hashlib.sha256(joined).hexdigest(), _leaves(np.frombuffer(joined, np.uint64)[::4].tolist()))


def _leaves(numbers):
    letters = PAIRS if len(numbers) < MANY else LETTERS
    return "".join([letters[number % len(letters)] for number in numbers])


# By the value of --audit: digests of what a replay is judged by, and of what names the first difference.
KINDS = {"digests": _tree_rows, "full": _tree_rows, "sha256": _sha256_rows}
NAMING_KINDS: dict[str, type[FastDigests]] = {"digests": FastDigests, "full": FastDigests, "sha256": SHA256Digests}


def differing(leaves: str, others: str, count: int) -> list[int]:
    """Return the indices of `count` arrays whose letters differ; the last one where the numbers of arrays differ."""
    width = 2 if count < MANY else 1
    found = [i for i in range(count) if leaves[i * width:(i + 1) * width] != others[i * width:(i + 1) * width]]
    return found or [count - 1] * (len(leaves) != len(others))
