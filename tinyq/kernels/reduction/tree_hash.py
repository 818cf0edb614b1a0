"""Reduce an array of any length to 128 chaining values, by BLAKE3's compression function in a tree of 16 lanes.

No two arrays of equal length with equal chaining values are known. SHA-256 of the
chaining values and the number of words, for example, makes a digest for arrays of any length.

The array is read as 32-bit words in chunks of HASH_CHUNK. In a chunk 16 lanes run side by side: a stripe is 256 words,
of which lane j compresses the words j, 16 + j, 32 + j, ... as one block of 16, padded with 0 at the end of the array.
The lanes' chaining values, 128 words per chunk, are the words of the next level, until one chunk is left. The counter
is the block's place and level, so that no two blocks of an array are compressed alike.

Unlike BLAKE3, lanes take every 16th word: nothing has to be transposed, and the bits are the same on every machine.
"""
from collections.abc import Sequence

import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.types import int64, uintp, void

from tinyq.kernels.contract import (
    BLAKE3_IV,
    BLAKE3_ORDER,
    BLAKE3_ROUNDS,
    HASH_BLOCK,
    HASH_CHUNK,
    HASH_LANES,
)
from tinyq.kernels.jit.compile import njit, part, prange
from tinyq.kernels.jit.intrinsics import emits
from tinyq.kernels.jit.isa import SHAPE
from tinyq.kernels.simd.llvm import I32, I64, broadcast, call, load, pointer, splat, store

STRIPE = HASH_LANES * HASH_BLOCK
STRIPES = HASH_CHUNK // STRIPE
VALUES = 8 * HASH_LANES                 # words of the chaining values of a chunk
MIN_PARALLEL_WORDS = 1 << 17            # words; below, waking the other threads costs more than they save
TOGETHER = min(max(SHAPE.lanes, 8), HASH_LANES)                 # lanes in one vector
LANES = ir.VectorType(I32, TOGETHER)
# The columns and the diagonals of the state that a round mixes.
QUARTERS = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
            (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))


def chaining_values(words: np.ndarray, ends: Sequence[int] = ()) -> np.ndarray:
    """Return the chaining values (n, 128) uint32 of n arrays that follow one another in `words`.

    words: uint32, 1-D, C-contiguous; ends: where each of the arrays ends, () for one array.
    """
    assert words.dtype == np.uint32 and words.ndim == 1 and words.flags.c_contiguous
    if not ends and words.size >= MIN_PARALLEL_WORDS:
        return _values_parallel(words)[None]
    return _values(words, np.array(ends or [words.size]))


@njit
def _values(words, ends):
    values, start = np.empty((len(ends), VALUES), np.uint32), 0
    for i in range(len(ends)):
        values[i] = _upper_levels(_level(words[start:ends[i]], 0))
        start = ends[i]
    return values


@njit(parallel=True)
def _values_parallel(words):
    values = np.empty(_chunks_of(words) * VALUES, np.uint32)
    for chunk in prange(values.size // VALUES):
        _chunk(words, chunk, 0, values)
    return _upper_levels(values)


@part
def _chunks_of(words):
    return max(1, -(-words.size // HASH_CHUNK))


@part
def _level(words, level):
    """Return the chaining values of all chunks of a level, in order."""
    values = np.empty(_chunks_of(words) * VALUES, np.uint32)
    for chunk in range(values.size // VALUES):
        _chunk(words, chunk, level, values)
    return values


@part
def _upper_levels(values):
    level = 1
    while values.size > VALUES:
        values = _level(values, level)
        level += 1
    return values


@part
def _chunk(words, chunk, level, values):
    """Compress one chunk of a level into its place in `values`."""
    start, end = chunk * HASH_CHUNK, min((chunk + 1) * HASH_CHUNK, words.size)
    stripes = (end - start) // STRIPE
    first = chunk * VALUES
    for word in range(8):
        for lane in range(HASH_LANES):
            values[first + word * HASH_LANES + lane] = BLAKE3_IV[word]
    _absorb(words.ctypes.data, start, stripes, chunk * STRIPES, level, values.ctypes.data, first)
    rest = start + stripes * STRIPE
    if rest < end:
        last = np.zeros(STRIPE, np.uint32)
        for word in range(end - rest):
            last[word] = words[rest + word]
        _absorb(last.ctypes.data, 0, 1, chunk * STRIPES + stripes, level, values.ctypes.data, first)


@emits(void(uintp, int64, int64, int64, int64, uintp, int64), outlined_as="hash_stripes")
def _absorb(builder, words, start, stripes, number, level, values, first):
    """Compress stripes at words[start], the first of which is number `number`, into the lanes at values[first].

    words, values: addresses.
    """
    words = builder.gep(pointer(builder, words, I32), [start])
    state = builder.gep(pointer(builder, values, I32), [first])
    with cgutils.for_range(builder, I64(HASH_LANES // TOGETHER)) as group:
        lane = builder.mul(group.index, I64(TOGETHER))
        places = [builder.add(lane, I64(word * HASH_LANES)) for word in range(HASH_BLOCK)]
        chain = [cgutils.alloca_once_value(builder, load(builder, state, place, LANES)) for place in places[:8]]
        with cgutils.for_range(builder, stripes) as stripe:
            at = builder.mul(stripe.index, I64(STRIPE))
            block = [load(builder, words, builder.add(at, place), LANES) for place in places]
            tweak = _tweak(builder, builder.add(number, stripe.index), level)
            new = _compressed(builder, [builder.load(value) for value in chain], block, tweak)
            for word, value in zip(new, chain, strict=True):
                builder.store(word, value)
        for value, place in zip(chain, places, strict=False):
            store(builder, builder.load(value), state, place)


def _tweak(builder, number, level):
    """Return the last four words of the state: the counter, the bytes of a block, no flag."""
    counter = [broadcast(builder, half, LANES) for half in (number, level)]
    return [*counter, splat(LANES, 4 * HASH_BLOCK), splat(LANES, 0)]


def _compressed(builder, value, block, tweak):
    """BLAKE3's compression of a block of 16 words into a chaining value of 8, in each lane."""
    state = [*value, *(splat(LANES, word) for word in BLAKE3_IV[:4]), *tweak]
    for _ in range(BLAKE3_ROUNDS):
        for quarter, places in enumerate(QUARTERS):
            _mix(builder, state, places, block[2 * quarter:2 * quarter + 2])
        block = [block[place] for place in BLAKE3_ORDER]
    return [builder.xor(low, high) for low, high in zip(state[:8], state[8:], strict=True)]


def _mix(builder, state, places, words):
    a, b, c, d = places
    for word, by_d, by_b in zip(words, (16, 8), (12, 7), strict=True):
        state[a] = builder.add(builder.add(state[a], state[b]), word)
        state[d] = _rotated(builder, builder.xor(state[d], state[a]), by_d)
        state[c] = builder.add(state[c], state[d])
        state[b] = _rotated(builder, builder.xor(state[b], state[c]), by_b)


def _rotated(builder, word, by):
    """Rotate to the right."""
    return call(builder, f"llvm.fshr.v{TOGETHER}i32", LANES, word, word, splat(LANES, by))
