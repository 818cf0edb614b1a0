"""Random streams named by their purpose: a number depends only on seed and name, not on earlier draws elsewhere.

Only Philox's raw 64-bit output is taken from NumPy (its distributions may change between versions); the
uniform, normal and shuffle made from it are our own.
"""
import hashlib
from dataclasses import dataclass

import numpy as np

from tinyq import portable

Shape = int | tuple[int, ...]


@dataclass(frozen=True)
class Streams:
    """Random streams of a run with this seed."""

    seed: int

    def key(self, purpose: str, *indices: int | str) -> "Stream":
        """Return the stream for (seed, purpose, indices), for example ("augment", epoch, index)."""
        name = "\x1f".join([str(int(self.seed)), purpose, *map(str, indices)])
        return Stream(int.from_bytes(hashlib.blake2b(name.encode(), digest_size=16).digest(), "little"))


class Stream:
    """One sequence of random 64-bit words, and random numbers made from it."""

    def __init__(self, key: int) -> None:
        """Start the stream of a 128-bit key."""
        self._words = np.random.Philox(key=np.array([key & (1 << 64) - 1, key >> 64], np.uint64))

    def words(self, count: int) -> np.ndarray:
        """Return the next `count` raw words, uint64."""
        return self._words.random_raw(count)

    def uniform(self, shape: Shape = (), low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """Draw uniform numbers on [low, high), float64, each from the upper 53 bits of a word."""
        count = int(np.prod(shape, dtype=np.int64))
        u = ((self.words(count) >> np.uint64(11)) * 2.0**-53).reshape(shape)
        return low + (high - low) * u

    def normal(self, shape: Shape = ()) -> np.ndarray:
        """Draw standard normal numbers, float64, by Box and Muller's transform of pairs of uniforms."""
        count = int(np.prod(shape, dtype=np.int64))
        pairs = (count + 1) // 2
        radius = np.sqrt(-2 * portable.log(1 - self.uniform(pairs)))
        angle = 2 * portable.PI * self.uniform(pairs)
        both = np.concatenate([radius * portable.cos(angle), radius * portable.sin(angle)])
        return both[:count].reshape(shape)

    def integers(self, low: int, high: int, shape: Shape = ()) -> np.ndarray:
        """Draw integers in [low, high), int64 (bias below (high - low) / 2**53)."""
        return low + np.floor(self.uniform(shape) * (high - low)).astype(np.int64)

    def permutation(self, n: int) -> np.ndarray:
        """Draw a random order of range(n), int64, by a stable sort of raw words."""
        return np.argsort(self.words(n), kind="stable")
