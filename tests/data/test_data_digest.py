"""Digests: equal for equal data, whatever their layout, and different for any difference."""
import hashlib

import numpy as np
import pytest

from tinyq.data.digest import digest_of_arrays, digest_of_file, digest_of_listing
from tinyq.errors import BadInput


def test_layout_and_byte_order_do_not_count_but_values_shape_dtype_and_name_do():
    a = np.arange(12, dtype=np.int32).reshape(3, 4)
    digest = digest_of_arrays(a=a)
    assert digest == digest_of_arrays(a=np.asfortranarray(a)) == digest_of_arrays(a=a[:, ::-1].copy()[:, ::-1])
    assert digest == digest_of_arrays(a=a.astype(">i4"))
    others = [a + 1, a.reshape(4, 3), a.astype(np.int64)]
    assert len({digest, digest_of_arrays(b=a), *(digest_of_arrays(a=other) for other in others)}) == 5


def test_a_digest_is_one_that_others_can_compute():
    expected = hashlib.sha256(b"labels\0int64\0(2,)\0" + bytes([1] + [0] * 7 + [2] + [0] * 7)).hexdigest()
    assert digest_of_arrays(labels=np.array([1, 2])) == expected


def test_a_listing_sees_names_sizes_and_labels():
    digests = {digest_of_listing(["a", "b"], [1, 2], [0, 1]), digest_of_listing(["a", "c"], [1, 2], [0, 1]),
               digest_of_listing(["a", "b"], [1, 3], [0, 1]), digest_of_listing(["a", "b"], [1, 2], [0, 0])}
    assert len(digests) == 4


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert digest_of_file(tmp_path / "x") == hashlib.sha256(b"abc").hexdigest()
    with pytest.raises(BadInput, match="nothing'"):
        digest_of_file(tmp_path / "nothing")
