"""The chaining values: BLAKE3's compression, the bits of the reference, any number of threads, what differs."""
import hashlib

import numpy as np
import pytest

from tinyq import kernels
from tinyq.kernels import contract
from tinyq.kernels.reduction import tree_hash as fast
from tinyq.kernels.reference.reduction import tree_hash as reference

CHUNK = contract.HASH_CHUNK
SIZES = [0, 1, 15, 16, 17, 255, 256, 257, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 77, 130 * CHUNK + 5]
# From BLAKE3's own test vectors and its paper.
PUBLISHED = {b"": "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
             b"abc": "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"}
CHUNK_START, CHUNK_END, ROOT = 1, 2, 8


def words(n, seed=0):
    return np.random.default_rng(seed).integers(0, 1 << 32, n, dtype=np.uint32)


@pytest.mark.parametrize("message", PUBLISHED)
def test_the_compression_function_gives_the_published_hashes_of_blake3(message):
    block = np.frombuffer(message.ljust(64, b"\0"), "<u4").astype(np.uint32)[:, None]
    value = np.array(contract.BLAKE3_IV, np.uint32)[:, None]
    found = reference.compress(value, block, 0, CHUNK_START | CHUNK_END | ROOT, len(message))
    assert found.astype("<u4").tobytes().hex() == PUBLISHED[message]


@pytest.mark.parametrize("n", SIZES)
def test_it_has_the_bits_of_its_reference(n):
    assert fast.chaining_values(words(n)).tolist() == reference.chaining_values(words(n)).tolist()


def test_arrays_that_follow_one_another_have_the_values_they_have_alone():
    arrays = [words(n, seed) for seed, n in enumerate(SIZES[:-1])]
    joined, ends = np.concatenate([*arrays, words(9)]), np.cumsum([len(array) for array in arrays]).tolist()
    found = fast.chaining_values(joined, ends).tolist()
    assert found == reference.chaining_values(joined, ends).tolist()
    assert found == [fast.chaining_values(array)[0].tolist() for array in arrays]


def test_the_bits_are_the_ones_of_record():
    """A ledger written today is read by later versions."""
    found = fast.chaining_values(np.arange(100_000, dtype=np.uint32))
    assert hashlib.sha256(found.astype("<u4").tobytes()).hexdigest() == RECORDED


RECORDED = "afe96b3ac2acab31dd12a726eea8228197ff308329bf9c195fe9ecf24de4f312"


def test_threads_change_nothing(two_threads):
    w = words(fast.MIN_PARALLEL_WORDS + 5)
    found = [reference.chaining_values(w).tolist()]
    for threads in (1, 2):
        kernels.set_threads(threads)
        found.append(fast.chaining_values(w).tolist())
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("n", [1, 40, 20_000])
def test_one_changed_bit_changes_half_of_its_lane(n):
    w = words(n)
    before = fast.chaining_values(w)
    rng = np.random.default_rng(1)
    changed = []
    for place, bit in zip(rng.integers(0, n, 200), rng.integers(0, 32, 200), strict=True):
        w[place] ^= np.uint32(1 << bit)
        changed.append(int(np.bitwise_count(fast.chaining_values(w) ^ before).sum()))
        w[place] ^= np.uint32(1 << bit)
    assert min(changed) > 80 and np.mean(changed) > 120             # of the 256 bits of one lane


def test_swapped_words_chunks_and_shifted_arrays_have_other_values():
    w = words(1000)
    arrays = [w, *(np.roll(w, k) for k in range(1, 300)),
              *(words(3 * CHUNK)[np.r_[CHUNK:2 * CHUNK, :CHUNK, 2 * CHUNK:3 * CHUNK]], words(3 * CHUNK))]
    for i in range(0, 999, 7):
        swapped = w.copy()
        swapped[[i, i + 1]] = swapped[[i + 1, i]]
        arrays.append(swapped)
    assert len({fast.chaining_values(array).tobytes() for array in arrays}) == len(arrays)
