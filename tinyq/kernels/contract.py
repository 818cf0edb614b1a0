"""Constants that fix the order of every sum: changing one changes the bits of every trained weight.

The hashes in `tests/contracts` notice a change. No constant depends on the machine or on the number of threads.
`kernels/README.md` has the whole contract.
"""

# Products: fused multiply-adds run over k ascending inside a block; the blocks' sums are added in ascending order.
KC = 256

# Weight gradients: k runs over the pixels of a chunk of samples; the chunks' sums are added in ascending order.
MIN_CHUNK_SAMPLES = 8
MAX_CHUNKS = 8

# Reductions: lane j adds the elements j, j + 32, ... of a chunk in float64, then a fixed tree joins the lanes.
LANES = 32
REDUCTION_CHUNK = 4096


def samples_per_chunk(n: int) -> int:
    """Return the samples per chunk of a weight gradient over n samples; a function of the problem alone."""
    return max(MIN_CHUNK_SAMPLES, -(-n // MAX_CHUNKS))


# Digests: lanes, words in a chunk, the lanes' keys and how these go on from stripe to stripe (reduction/hashing.py).
DIGEST_LANES = 16
DIGEST_CHUNK = 1 << 14
DIGEST_ROTATION = 23
DIGEST_STEPS = (0x85EBCA6B, 0xC2B2AE35)
DIGEST_MIXERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
GOLDEN = 0x9E3779B97F4A7C15                     # 2^64 / golden ratio: its multiples are spread evenly

# Tree hash (reduction/tree_hash.py): lanes, words of a block and of a chunk; BLAKE3's constants.
HASH_LANES, HASH_BLOCK, HASH_CHUNK = 16, 16, 1 << 14
BLAKE3_IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
BLAKE3_ORDER = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
BLAKE3_ROUNDS = 7


def digest_keys(half: int) -> list[int]:
    """Return the 32-bit keys of the lanes for the first (0) or second (1) word of a pair."""
    return [((lane + 1) * GOLDEN & (1 << 64) - 1) >> 32 * (1 - half) & 0xFFFFFFFF for lane in range(DIGEST_LANES)]
