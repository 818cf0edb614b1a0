"""The digest: its reference's bits, any number of threads, and what it must tell apart."""
import numpy as np
import pytest

from tinyq import kernels
from tinyq.kernels import contract
from tinyq.kernels.reduction import hashing as fast
from tinyq.kernels.reference.reduction import hashing as reference

SIZES = [0, 1, 31, 32, 33, 1000, contract.DIGEST_CHUNK - 1, contract.DIGEST_CHUNK, contract.DIGEST_CHUNK + 1,
         3 * contract.DIGEST_CHUNK + 77]


def words(n, seed=0):
    return np.random.default_rng(seed).integers(0, 1 << 32, n, dtype=np.uint32)


@pytest.mark.parametrize("n", SIZES)
def test_it_has_the_bits_of_its_reference(n):
    assert fast.digest(words(n)).tolist() == reference.digest(words(n)).tolist()


def test_arrays_in_one_call_have_the_digests_they_have_alone():
    arrays = [words(n, seed) for seed, n in enumerate(SIZES)]
    joined, ends = np.concatenate([*arrays, words(9)]), np.cumsum([len(array) for array in arrays]).tolist()
    found = fast.digest(joined, ends).tolist()
    assert found == reference.digest(joined, ends).tolist() == [fast.digest(array)[0].tolist() for array in arrays]


def test_the_bits_are_the_ones_of_record():
    """A ledger written today is read by later versions."""
    found = fast.digest(np.arange(100_000, dtype=np.uint32))
    assert [f"{half:016x}" for half in found[0].tolist()] == RECORDED


RECORDED = ["1c956ff425885e56", "2588b434cc821c09"]


def test_threads_change_nothing(two_threads):
    w = words(fast.MIN_PARALLEL_WORDS + 5)
    found = [reference.digest(w).tolist()]
    for threads in (1, 2):
        kernels.set_threads(threads)
        found.append(fast.digest(w).tolist())
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("n", [1, 40, 20_000])
def test_every_single_changed_bit_is_seen(n):
    w = words(n)
    before = fast.digest(w)[0].tolist()
    rng = np.random.default_rng(1)
    for place, bit in zip(rng.integers(0, n, 300), rng.integers(0, 32, 300), strict=True):
        w[place] ^= np.uint32(1 << bit)
        after = fast.digest(w)[0].tolist()
        assert after[1] != before[1] and after != before                # the chain alone tells for certain
        w[place] ^= np.uint32(1 << bit)


def test_swapped_words_shifted_arrays_and_zeros_at_the_end_have_other_digests():
    w = words(40_000)
    seen = {tuple(fast.digest(w)[0].tolist())}
    rng = np.random.default_rng(2)
    for i, j in rng.integers(0, len(w), (300, 2)):
        w[[i, j]] = w[[j, i]]
        seen.add(tuple(fast.digest(w)[0].tolist()))
    seen |= {tuple(fast.digest(np.zeros(n, np.uint32))[0].tolist()) for n in range(200)}
    seen |= {tuple(fast.digest(np.roll(w, k))[0].tolist()) for k in range(1, 100)}
    assert len(seen) >= 1 + 298 + 200 + 99                             # a swap of equal places or words changes nothing


def test_half_of_the_bits_change():
    """Not a proof of anything, but a lane left out or a constant of 0 would show."""
    w, changed = words(5000), []
    before = fast.digest(w)[0]
    for place in range(0, 5000, 10):
        w[place] ^= np.uint32(1)
        changed.append([int(a ^ b).bit_count() for a, b in zip(fast.digest(w)[0], before, strict=True)])
        w[place] ^= np.uint32(1)
    assert np.all(np.abs(np.mean(changed, axis=0) - 32) < 1.5)
