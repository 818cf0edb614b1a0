"""Random streams named by their purpose: a number depends only on seed and name, not on earlier draws elsewhere.

Only Philox's raw 64-bit output is taken from NumPy (its distributions may change between versions); the
uniform, normal and shuffle made from it are our own.
"""
import hashlib
from dataclasses import dataclass

import numpy as np

from tinyq import portable

Shape = int | tuple[int, ...]
_FACTORS = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
_STEPS = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)
_ROUNDS, _HALF, _LOWER = 10, np.uint64(32), np.uint64(0xFFFFFFFF)


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
        self._key = key
        self._generator: np.random.Philox | None = None     # imported with the first words

    def words(self, count: int) -> np.ndarray:
        """Return the next `count` raw words, uint64."""
        if self._generator is None:
            key = np.array([self._key & (1 << 64) - 1, self._key >> 64], np.uint64)
            self._generator = np.random.Philox(key=key)
        return self._generator.random_raw(count)

    def uniform(self, shape: Shape = (), low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """Draw uniform numbers on [low, high), float64, each from the upper 53 bits of a word."""
        return _uniform(self.words(int(np.prod(shape, dtype=np.int64))), shape, low, high)

    def first_uniform(self, shape: Shape, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """Return what `uniform` draws first, without NumPy's generator, which takes long to import."""
        return _uniform(_first_words(self._key, int(np.prod(shape, dtype=np.int64))), shape, low, high)

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


def _uniform(words, shape, low, high):
    u = ((words >> np.uint64(11)) * 2.0**-53).reshape(shape)
    return low + (high - low) * u


def _first_words(key: int, count: int) -> np.ndarray:
    """Return the first `count` words of Philox 4x64-10 (Salmon et al., 2011), uint64, for a 128-bit key."""
    blocks = -(-count // 4)
    c = [np.arange(1, blocks + 1, dtype=np.uint64), *(np.zeros(blocks, np.uint64) for _ in range(3))]
    keys = [np.array([key >> shift & (1 << 64) - 1], np.uint64) for shift in (0, 64)]
    for _ in range(_ROUNDS):
        (high0, low0), (high1, low1) = _product(_FACTORS[0], c[0]), _product(_FACTORS[1], c[2])
        c = [high1 ^ c[1] ^ keys[0], low1, high0 ^ c[3] ^ keys[1], low0]
        keys = [k + step for k, step in zip(keys, _STEPS, strict=True)]
    return np.stack(c, axis=1).reshape(-1)[:count]


def _product(a: np.uint64, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the upper and lower 64 bits of the products a * b."""
    a0, a1, b0, b1 = a & _LOWER, a >> _HALF, b & _LOWER, b >> _HALF
    middle = a1 * b0 + (a0 * b0 >> _HALF)
    other = a0 * b1 + (middle & _LOWER)
    return a1 * b1 + (middle >> _HALF) + (other >> _HALF), a * b
