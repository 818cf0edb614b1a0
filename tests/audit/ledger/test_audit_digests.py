"""The letters beside a digest: which arrays differ, for few arrays and for many."""
import hashlib

import numpy as np
import pytest

from tinyq.audit.ledger.digests import (
    KINDS,
    MANY,
    NAMING_KINDS,
    FastDigests,
    SHA256Digests,
    differing,
    digest_of,
    digests_of,
)
from tinyq.kernels.reference.reduction.tree_hash import chaining_values


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 5, MANY - 1, MANY, 2 * MANY])
def test_the_arrays_that_changed_are_named(kind, count):
    arrays = [np.full(3, i, np.float32) for i in range(count)]
    before = digest_of(kind, arrays)
    assert len(before.leaves) == count * (2 if count < MANY else 1)
    assert differing(before.leaves, digest_of(kind, arrays).leaves, count) == []
    arrays[count // 2] += 1
    after = digest_of(kind, arrays)
    assert after.root != before.root and differing(before.leaves, after.leaves, count) == [count // 2]


@pytest.mark.parametrize("kind", KINDS)
def test_lists_digested_together_have_the_digests_they_have_alone(kind):
    rng = np.random.default_rng(0)
    lists = [[rng.standard_normal(n).astype(np.float32) for n in sizes] for sizes in ((3, 20_000), (), (0, 5, 1))]
    assert digests_of(kind, *lists) == [digest_of(kind, arrays) for arrays in lists]


def test_where_arrays_are_left_out_or_added_the_last_is_named():
    arrays = [np.full(3, i, np.float32) for i in range(5)]
    five, four = digest_of("digests", arrays).leaves, digest_of("digests", arrays[:4]).leaves
    assert differing(five, four, 5) == [4] and differing(four, five, 4) == [3]


def test_a_tensor_that_is_not_there_counts_as_an_empty_one():
    assert digest_of("digests", [None]) == digest_of("digests", [np.empty(0, np.float32)])


def test_what_a_replay_is_judged_by_has_a_digest_that_nobody_can_make_collide():
    """256 bits over BLAKE3's compression; the fast digest only names the first operation that differs."""
    array = np.arange(5000, dtype=np.float32)
    values = chaining_values(array.view(np.uint32))[0]
    leaf = hashlib.sha256(values.tobytes() + (5000).to_bytes(8, "little")).digest()
    for kind in ("digests", "full"):
        assert digest_of(kind, [array]).root == hashlib.sha256(leaf).hexdigest()
        assert NAMING_KINDS[kind] is FastDigests
    assert NAMING_KINDS["sha256"] is SHA256Digests


def test_arrays_of_one_padded_content_and_other_lengths_have_other_digests():
    found = {digest_of("digests", [np.zeros(n, np.float32)]).root for n in range(300)}
    assert len(found) == 300
