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


@pytest.mark.parametrize("name, mean, std", [
    ("iris", [58.0, 30.0, 37.0, 12.0], [8.0]), ("digits", [0.25], None), ("digits", None, [0.5])])
def test_mean_and_std_may_be_given(name, mean, std):
    usual, given = data.load(name), data.load(name, mean=mean, std=std)
    raw = usual.test.values if name == "iris" else usual.test.images
    how = given.preparation
    expected = how.of_features(raw) if name == "iris" else how.of_pixels(raw, how.brightest)
    assert np.array_equal(given.arrays("test")[0], expected)
    assert how.mean == (tuple(mean) if mean else usual.preparation.mean) == tuple(given.manifest["mean"])
    assert given.manifest["sha256"] == usual.manifest["sha256"] and given.manifest["mean"] is not usual.manifest["mean"]


@pytest.mark.parametrize("given", [{"mean": [0.1, 0.2]}, {"std": [0.0]}, {"mean": [float("inf")]}, {"std": [-1.0]}])
def test_a_mean_or_std_that_does_not_fit_is_refused(given):
    with pytest.raises(UsageError, match=f"{next(iter(given))}: .* do not fit inputs of shape"):
        data.load("digits", **given)
