"""The constants that fix the order of every sum: changing one changes the bits of every trained weight.

`tests/contracts` holds the hash that notices. None of them depends on the machine or on the number of threads.
"""

# Products: fused multiply-adds run over k ascending inside a block; the blocks' sums are added in ascending order.
PRODUCT_BLOCK = 256

# Weight gradients: k runs over the pixels of a chunk of samples; the chunks' sums are added in ascending order.
MIN_CHUNK_SAMPLES = 8
MAX_CHUNKS = 8

# Reductions: lane j adds the elements j, j + 32, ... of a chunk in float64, then a fixed tree joins the lanes.
LANES = 32
REDUCTION_CHUNK = 4096


def samples_per_chunk(n: int) -> int:
    """Samples in one chunk of a weight gradient over n samples; a function of the problem alone."""
    return max(MIN_CHUNK_SAMPLES, -(-n // MAX_CHUNKS))
