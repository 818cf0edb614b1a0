"""The letters beside a digest: which arrays differ, for few arrays and for many."""
import numpy as np
import pytest

from tinyq.audit.ledger.digests import KINDS, MANY, differing, digest_of


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


def test_where_arrays_are_left_out_or_added_the_last_is_named():
    arrays = [np.full(3, i, np.float32) for i in range(5)]
    five, four = digest_of("digests", arrays).leaves, digest_of("digests", arrays[:4]).leaves
    assert differing(five, four, 5) == [4] and differing(four, five, 4) == [3]


def test_a_tensor_that_is_not_there_counts_as_an_empty_one():
    assert digest_of("digests", [None]) == digest_of("digests", [np.empty(0, np.float32)])
