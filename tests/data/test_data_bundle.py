"""A dataset's splits as whole arrays."""
import numpy as np
import pytest

from tinyq import data
from tinyq.errors import UsageError


def test_all_samples_of_a_split_are_what_evaluation_sees():
    bundle = data.load("digits")
    x, y = bundle.arrays("test")
    assert x.shape == (360, 1, 8, 8) and x.dtype == np.float32 and y.dtype == np.int64
    some, labels = bundle.test.batch(np.array([3, 1]))
    assert (x[[3, 1]] == some).all() and (y[[3, 1]] == labels).all()


def test_a_split_that_is_not_there_is_named():
    with pytest.raises(UsageError, match="data digits has no split 'tset'; it has test, train, validation"):
        data.load("digits").arrays("tset")
