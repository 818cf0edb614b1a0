"""Reference of the digest."""
from collections.abc import Sequence

import numpy as np

from tinyq.kernels.contract import (
    DIGEST_CHUNK,
    DIGEST_LANES,
    DIGEST_MIXERS,
    DIGEST_ROTATION,
    DIGEST_STEPS,
    GOLDEN,
    digest_keys,
)

LOW, MASK = 0xFFFFFFFF, (1 << 64) - 1


def digest(words: np.ndarray, ends: Sequence[int] = ()) -> np.ndarray:
    """Return the digests (n, 2) uint64 of arrays that end at `ends` in uint32 words (n,), or of one array."""
    arrays = np.split(words[:ends[-1]] if ends else words, ends[:-1])
    return np.array([_digest(array) for array in arrays], np.uint64)


def _digest(words):
    product, chain = _mixed(GOLDEN + len(words) & MASK), GOLDEN
    for start in range(0, len(words), DIGEST_CHUNK):
        of_products, of_chains = _chunk(words[start:start + DIGEST_CHUNK].astype(np.uint64))
        product = _mixed(product ^ of_products)
        chain = _mixed((chain ^ of_chains) + product & MASK)
    return product, chain


def _chunk(words):
    stripes = -(-len(words) // (2 * DIGEST_LANES))
    padded = np.zeros(stripes * 2 * DIGEST_LANES, np.uint64)
    padded[:len(words)] = words
    products, chains = np.zeros((2, DIGEST_LANES), np.uint64)
    k, m = (np.array(digest_keys(half), np.uint64) for half in (0, 1))
    left, right = np.uint64(DIGEST_ROTATION), np.uint64(64 - DIGEST_ROTATION)
    for s, (x, y) in enumerate(padded.reshape(stripes, 2, DIGEST_LANES)):
        keyed = [x ^ (k + np.uint64(s * DIGEST_STEPS[0] & LOW) & np.uint64(LOW)),
                 y ^ (m + np.uint64(s * DIGEST_STEPS[1] & LOW) & np.uint64(LOW))]
        products = products + keyed[0] * keyed[1]
        chains = (chains << left | chains >> right) + (x | y << np.uint64(32))
    product = chain = 0
    for of_product, of_chain in zip(products.tolist(), chains.tolist(), strict=True):
        product = _mixed(product ^ of_product)
        chain = _mixed((chain ^ of_chain) + product & MASK)
    return product, chain


def _mixed(z):
    z = (z ^ z >> 30) * DIGEST_MIXERS[0] & MASK
    z = (z ^ z >> 27) * DIGEST_MIXERS[1] & MASK
    return z ^ z >> 31
