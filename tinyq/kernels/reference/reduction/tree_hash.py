"""Reference of the chaining values; the compression function is the one of the BLAKE3 paper, section 2.2."""
from collections.abc import Sequence

import numpy as np

from tinyq.kernels.contract import (
    BLAKE3_IV,
    BLAKE3_ORDER,
    BLAKE3_ROUNDS,
    HASH_BLOCK,
    HASH_CHUNK,
    HASH_LANES,
)

STRIPE = HASH_LANES * HASH_BLOCK
QUARTERS = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
            (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))


def chaining_values(words: np.ndarray, ends: Sequence[int] = ()) -> np.ndarray:
    """Return the chaining values (n, 128) uint32 of arrays that end at `ends` in uint32 words (n,), or of one array."""
    return np.stack([_values(array) for array in np.split(words[:ends[-1]] if ends else words, ends[:-1])])


def _values(words):
    values, level = words, 0
    while level == 0 or len(values) > 8 * HASH_LANES:
        values, level = _level(values, level), level + 1
    return values


def compress(value: np.ndarray, block: np.ndarray, counter: np.ndarray | int, flags: int,
             length: int = 4 * HASH_BLOCK) -> np.ndarray:
    """BLAKE3's compression: (8, lanes) and (16, lanes) uint32 to (8, lanes).

    counter: one number, or (lanes,) uint64; length: bytes of the block.
    """
    counter = np.broadcast_to(np.asarray(counter, np.uint64), value.shape[1:])
    tweak = np.stack([counter & np.uint64(0xFFFFFFFF), counter >> np.uint64(32), np.full_like(counter, length),
                      np.full_like(counter, flags)]).astype(np.uint32)
    state = np.concatenate([value, _start(value.shape[1])[:4], tweak])
    for _ in range(BLAKE3_ROUNDS):
        for quarter, places in enumerate(QUARTERS):
            _mix(state, places, block[2 * quarter:2 * quarter + 2])
        block = block[list(BLAKE3_ORDER)]
    return state[:8] ^ state[8:]


def _level(words, level):
    """Return the chaining values of all chunks: of the whole ones side by side, then of the last."""
    whole = len(words) // HASH_CHUNK
    chunks = [words[:whole * HASH_CHUNK].reshape(whole, HASH_CHUNK)] if whole else []
    rest = words[whole * HASH_CHUNK:]
    if len(rest) or not whole:
        padded = np.zeros((1, -(-len(rest) // STRIPE) * STRIPE), np.uint32)
        padded[0, :len(rest)] = rest
        chunks.append(padded)
    firsts = [0, whole] if len(chunks) > 1 else [0]
    return np.concatenate([_chunks(some, first, level) for some, first in zip(chunks, firsts, strict=True)])


def _chunks(words, first, level):
    """Return the chaining values of equally long chunks (chunks, n), of which the first is number `first`."""
    chunks = len(words)
    numbers = np.repeat(np.arange(first, first + chunks, dtype=np.uint64) * np.uint64(HASH_CHUNK // STRIPE), HASH_LANES)
    value = _start(chunks * HASH_LANES)
    for place, blocks in enumerate(words.reshape(chunks, -1, HASH_BLOCK, HASH_LANES).swapaxes(0, 1)):
        block = blocks.swapaxes(0, 1).reshape(HASH_BLOCK, -1)
        value = compress(value, block, numbers + np.uint64(place | level << 32), 0)
    return value.reshape(8, chunks, HASH_LANES).swapaxes(0, 1).reshape(-1)


def _mix(state, places, words):
    a, b, c, d = places
    for word, by_d, by_b in zip(words, (16, 8), (12, 7), strict=True):
        state[a] += state[b] + word
        state[d] = _rotated(state[d] ^ state[a], by_d)
        state[c] += state[d]
        state[b] = _rotated(state[b] ^ state[c], by_b)


def _rotated(words, by):
    return words >> np.uint32(by) | words << np.uint32(32 - by)


def _start(lanes):
    return np.repeat(np.array(BLAKE3_IV, np.uint32)[:, None], lanes, axis=1)
