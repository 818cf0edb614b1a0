"""Iris and the digits: what comes with tinyq, and how it is split."""
import json

import numpy as np
import pytest

from tinyq import data
from tinyq.errors import BadInput, UsageError


@pytest.mark.parametrize("name, sizes, shape, classes", [
    ("iris", (105, 15, 30), (4,), ("setosa", "versicolor", "virginica")),
    ("digits", (1257, 180, 360), (1, 8, 8), tuple("0123456789")),
])
def test_the_bundle_says_what_it_holds(name, sizes, shape, classes):
    bundle = data.load(name)
    assert (len(bundle.train), len(bundle.validation), len(bundle.test)) == sizes
    assert bundle.input_shape == shape and bundle.class_names == classes and bundle.num_classes == len(classes)
    x, y = bundle.train.batch(np.array([3, 0]))
    assert x.shape == (2, *shape) and x.dtype == np.float32 and y.dtype == np.int64
    assert json.loads(json.dumps(bundle.manifest)) == bundle.manifest


def rows(dataset):
    samples = dataset.features if isinstance(dataset, data.Table) else dataset.images
    return sorted((*samples[k].ravel().tolist(), int(dataset.labels[k])) for k in range(len(dataset)))


def test_the_three_parts_hold_every_digit_once():
    whole, folded = data.load("digits"), data.load("digits", validation=0)
    parts = rows(whole.train) + rows(whole.validation) + rows(whole.test)
    assert len(parts) == 1797 and sorted(parts) == sorted(rows(folded.train) + rows(folded.test))


def test_folding_validation_back_leaves_the_test_part_alone():
    whole, folded = data.load("digits"), data.load("digits", validation=0)
    assert folded.validation is None and len(folded.train) == 1437
    assert folded.manifest["splits"]["test"] == whole.manifest["splits"]["test"]


def test_iris_has_as_many_120_to_30_splits_as_one_asks_for():
    bundles = [data.load("iris", split=k, validation=0) for k in range(20)]
    assert all((len(b.train), len(b.test)) == (120, 30) for b in bundles)
    assert len({b.manifest["splits"]["test"]["sha256"] for b in bundles}) == 20


def test_iris_features_are_normalised_by_the_training_part_alone():
    bundle = data.load("iris")
    np.testing.assert_allclose(bundle.train.features.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(bundle.train.features.std(0), 1, rtol=1e-6)
    assert abs(bundle.test.features.mean()) > 1e-3


@pytest.mark.parametrize("split", range(3))
def test_the_digits_constants_are_those_of_the_pixels(split):
    bundle = data.load("digits", split=split)
    pixels = np.concatenate([bundle.train.images, bundle.validation.images]) / 16
    assert bundle.train.images.max() == 16
    assert abs(pixels.mean() - bundle.train.mean[0]) < 0.002 and abs(pixels.std() - bundle.train.std[0]) < 0.002


def test_a_manifest_is_the_same_every_time_and_changes_with_the_split():
    assert data.load("iris").manifest == data.load("iris").manifest
    assert data.load("iris").manifest["sha256"] != data.load("iris", split=1).manifest["sha256"]


def test_typos_are_answered_with_the_nearest_name():
    with pytest.raises(UsageError, match="did you mean 'digits'"):
        data.load("digit")
    with pytest.raises(UsageError, match="did you mean 'validation'"):
        data.load("digits", validaton=3)
    with pytest.raises(UsageError, match="leave out --data-path"):
        data.load("iris", "somewhere")


def test_validation_must_leave_something_to_train_on():
    with pytest.raises(BadInput, match="digits: cannot hold out 1437 of its 1437 training samples"):
        data.load("digits", validation=1437)


@pytest.mark.parametrize("options", [{"validation": -1}, {"padding": -2}, {"split": -1}])
def test_numbers_below_zero_are_refused(options):
    with pytest.raises(UsageError, match="must be at least 0"):
        data.load("digits", **options)


def test_options_of_lists_what_load_takes():
    assert data.options_of("iris") == {"split": 0, "validation": 15, "whole": False}


def test_whole_inputs_are_multiples_of_a_power_of_two():
    for name, unit, largest in (("iris", 16, 79), ("digits", 16, 16)):
        bundle = data.load(name, whole=True)
        x, _ = bundle.train.batch(np.arange(len(bundle.train)))
        assert x.dtype == np.float32 and (x * unit == np.rint(x * unit)).all()
        assert x.min() >= 0 and x.max() * unit <= largest
