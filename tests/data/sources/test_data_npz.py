"""A user's own arrays in an .npz file: what is read, held out, mapped and refused."""
import numpy as np
import pytest

from tinyq import data
from tinyq.errors import BadInput, UsageError

RNG = np.random.Generator(np.random.Philox(5))
X, Y = RNG.normal(size=(60, 4)), np.arange(60) % 3


@pytest.fixture
def load(tmp_path):
    def load(options=None, **arrays):
        np.savez(tmp_path / "own.npz", **arrays)
        return data.load("npz", tmp_path / "own.npz", **(options or {}))
    return load


def sizes(bundle):
    return {part: len(getattr(bundle, part)) for part in ("train", "validation", "test") if getattr(bundle, part)}


def test_samples_without_parts_are_divided_in_the_same_way_each_time(load):
    one, again, other = load(x=X, y=Y), load(x=X, y=Y), load({"split": 1}, x=X, y=Y)
    assert sizes(one) == {"train": 44, "validation": 4, "test": 12}
    assert one.manifest == again.manifest and one.manifest["sha256"] != other.manifest["sha256"]
    assert sizes(load({"test": 0, "validation": 0}, x=X, y=Y)) == {"train": 60}
    rows = np.concatenate([part.values for part in (one.train, one.validation, one.test)])
    assert np.array_equal(np.sort(rows[:, 0]), np.sort(X[:, 0]))


@pytest.mark.parametrize("names, found", [
    (("x_train", "y_train", "x_test", "y_test"), {"train": 54, "validation": 6, "test": 60}),
    (("X_Train", "Y_Train", "x_val", "y_val"), {"train": 60, "validation": 60}),
    (("train_images", "train_labels", "test_images", "test_labels"), {"train": 54, "validation": 6, "test": 60}),
    (("inputs_training", "targets_training"), {"train": 54, "validation": 6}), (("x_test", "y_test"), {"test": 60})])
def test_parts_are_known_by_the_names_of_arrays(load, names, found):
    assert sizes(load(**{name: Y if k % 2 else X for k, name in enumerate(names)})) == found


def test_inputs_are_normalised_as_measured_on_the_training_part(load):
    bundle = load(x_train=X * 10 + 3, y_train=Y, x_test=X, y_test=Y)
    x, _ = bundle.arrays("train")
    assert x.dtype == np.float32 and np.allclose(x.mean(0), 0, atol=1e-6) and np.allclose(x.std(0), 1, atol=1e-6)
    raw = bundle.train.values
    np.testing.assert_allclose(bundle.preparation.mean, raw.mean(0), rtol=1e-12)
    np.testing.assert_allclose(bundle.preparation.std, raw.std(0), rtol=1e-12)
    tested, _ = bundle.arrays("test")
    assert np.array_equal(tested, ((X - bundle.preparation.mean) / bundle.preparation.std).astype(np.float32))


def test_a_constant_feature_and_many_features_are_normalised_too(load):
    constant = load(x=np.where(np.arange(4) == 2, 0.1, X), y=Y)
    assert constant.preparation.std[2] == 1.0 and np.abs(constant.arrays("train")[0][:, 2]).max() < 1e-6
    wide = load(x=RNG.normal(size=(60, 300)), y=Y)
    assert len(wide.preparation.mean) == 1 and wide.arrays("test")[0].shape == (12, 300)


@pytest.mark.parametrize("x, options, shape, layout", [
    (np.zeros((60, 5, 7), np.uint8), {}, (1, 5, 7), "grey"), (np.zeros((60, 5, 7, 3), np.uint8), {}, (3, 5, 7),
                                                               "channels-last"),
    (np.zeros((60, 3, 7, 5), np.uint8), {}, (3, 7, 5), "channels-first"),
    (np.zeros((60, 3, 5, 3), np.uint8), {"layout": "channels-last"}, (3, 3, 5), "channels-last"),
    (np.zeros((60, 5, 7)), {"layout": "plain"}, (5, 7), "plain"), (np.zeros(60), {}, (1,), "plain"),
    (np.zeros((60, 2, 3, 4, 5)), {}, (2, 3, 4, 5), "plain"), (np.zeros((60, 5, 7)), {}, (1, 5, 7), "grey")])
def test_a_sample_may_have_any_shape(load, x, options, shape, layout):
    bundle = load(options, x=x, y=Y)
    assert bundle.input_shape == shape == bundle.test.batch([0])[0].shape[1:] and bundle.read["layout"] == layout


def test_channels_in_the_last_axis_become_the_first(load):
    images = RNG.integers(0, 256, (60, 5, 7, 3)).astype(np.uint8)
    bundle = load({"test": 0, "validation": 0}, x=images, y=Y)
    assert np.array_equal(bundle.train.images, images.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("dtype, top, whole", [(np.uint8, 255, 256), (np.uint16, 65535, 65536), (np.int64, 255, 256),
                                               (">u2", 65535, 65536)])
def test_whole_numbers_with_height_and_width_are_pixels(load, dtype, top, whole):
    images = np.array([0, top] * 30)[:, None, None].repeat(4, 1).repeat(4, 2).astype(dtype)
    bundle = load(x=images, y=Y)
    assert bundle.preparation.divisor == top == bundle.test.brightest
    exact = load({"whole": True}, x=images, y=Y).arrays("train")[0]
    assert set(np.unique(exact)) == {0, np.float32(top / whole)}


def test_fewer_grey_levels_are_said(load):
    bundle = load({"brightest": 16, "whole": True}, x=RNG.integers(0, 17, (60, 8, 8)), y=Y)
    assert bundle.preparation.divisor == 16
    assert bundle.test.images.dtype == np.uint8 and bundle.preparation.brightest == 16


@pytest.mark.parametrize("order", [np.asfortranarray, lambda a: a.astype(a.dtype.newbyteorder(">")),
                                   lambda a: np.ascontiguousarray(a)])
def test_the_order_of_elements_and_bytes_does_not_matter(load, order):
    assert load(x=order(X), y=order(Y)).manifest == load(x=X, y=Y).manifest


@pytest.mark.parametrize("y, kind, names, shape", [
    (Y, "classes", ("0", "1", "2"), ()), (Y * 2 - 1, "classes", ("-1", "1", "3"), ()),
    (Y[:, None], "classes", ("0", "1", "2"), ()),
    (np.array(["cat", "dog", "ant"])[Y], "classes", ("ant", "cat", "dog"), ()), (Y > 0, "classes", ("0", "1"), ()),
    (np.eye(3)[Y], "classes", ("0", "1", "2"), ()), (Y * 0.5, "numbers", ("0",), (1,)),
    (X[:, :1], "numbers", ("0",), (1,)),
    (X, "numbers", ("0", "1", "2", "3"), (4,)), (X.reshape(60, 2, 2), "numbers", ("0", "1", "2", "3"), (2, 2)),
    ((X > 0).astype(int), "labels", ("0", "1", "2", "3"), (4,))])
def test_what_the_targets_are_follows_from_the_array(load, y, kind, names, shape):
    bundle = load(x=X, y=y)
    assert (bundle.targets, bundle.class_names, bundle.target_shape) == (kind, names, shape)
    _, held = bundle.train.batch([0, 1])
    assert held.dtype == (np.int64 if kind == "classes" else np.float32) and held.shape == (2, *shape)


def test_classes_are_mapped_and_named(load):
    bundle = load({"test": 0, "validation": 0}, x=X, y=np.array([7, -1, 3])[Y])
    assert [bundle.class_names[k] for k in bundle.train.labels] == np.array([7, -1, 3])[Y].astype(str).tolist()
    named = load({"test": 0, "validation": 0}, x=X, y=Y, class_names=np.array(["a", "b", "c", "d"]))
    assert named.class_names == ("a", "b", "c", "d") and np.array_equal(named.train.labels, Y)


def test_the_kind_of_targets_may_be_said(load):
    assert load({"targets": "classes"}, x=X, y=Y * 1.0).targets == "classes"
    assert load({"targets": "numbers"}, x=X, y=Y).targets == "numbers"
    assert load({"targets": "labels"}, x=X, y=np.eye(3)[Y]).targets == "labels"
    with pytest.raises(UsageError, match="targets 'clases': did you mean 'classes'"):
        load({"targets": "clases"}, x=X, y=Y)


NAN = np.where(np.arange(240).reshape(60, 4) == 9, np.nan, X)


@pytest.mark.parametrize("arrays, message", [
    (dict(x=np.where(X > 1, np.inf, X).astype(np.float16), y=Y), "hold inf in sample"),
    (dict(x=X, y=Y, class_names=np.array("abc")), r"class_names has the shape \(\)"),
    (dict(x=X, y=Y, class_names=np.eye(3)), r"class_names has the shape \(3, 3\)"),
    (dict(x=X), "'x' has no y beside it"), (dict(x_train=X, y_test=Y), "'x_train' has no y_train"),
    (dict(a=X, b=Y), "neither x_train and y_train nor x and y here; it holds 'a', 'b'"),
    (dict(x=X, y=Y, x_test=X, y_test=Y), "x and y stand beside x_test"),
    (dict(x_val=X, y_val=Y), "lacks x_train and y_train"),
    (dict(x=X, X=X, y=Y), "'x' and 'X' are both the inputs"),
    (dict(x=X, y=Y[:50]), "60 inputs and 50 targets"), (dict(x=X[:0], y=Y[:0]), "0 inputs and 0 targets"),
    (dict(x=np.float64(1), y=Y), "no inputs"),
    (dict(x=X.astype(object), y=Y), "x holds Python objects, in a pickle, which are never read"),
    (dict(x=X, y=np.array([None] * 60)), "y holds Python objects"),
    (dict(x=X * 1j, y=Y), "x holds values of complex128"),
    (dict(x=NAN, y=Y), r"hold nan in sample 2, at \[1\]; they must be finite"),
    (dict(x=X * 1e30, y=Y), "they must be finite and at most 1e\\+18"),
    (dict(x=np.array(["a"] * 60), y=Y), "the inputs are <U1; they must be numbers"),
    (dict(x_train=X, y_train=Y, x_test=X[:, :2], y_test=Y), r"have the shapes \(4,\), \(2,\); they must be equal"),
    (dict(x_train=X, y_train=Y, x_test=X, y_test=np.eye(3)[Y]), "they must be alike"),
    (dict(x=np.zeros((60, 1, 1, 1, 1, 1)), y=Y), "a sample must have 1 to 4 axes"),
    (dict(x=X, y=X[:, 0] * np.nan), "the target of sample 0 is .nan., not finite"),
    (dict(x=X, y=np.zeros(60, int)), "all samples are of one class, 0"),
    (dict(x=X, y=np.arange(60)), "60 classes for 60 samples; if they are to be predicted as numbers, set"),
    (dict(x=X, y=np.array(["ab", "c"] * 30).reshape(60), class_names=np.array(["c", "d"])), "the label 'ab' is none"),
    (dict(x=X, y=Y, class_names=np.array([f"{k:x>300}" for k in range(300)])), "300 names of up to 302 bytes, over"),
    (dict(x=X, y=Y, class_names=np.array(["c"])), "class_names must be 2 to 4,096 different names"),
])
def test_arrays_that_cannot_be_trained_on_are_refused_in_one_line(load, arrays, message):
    with pytest.raises(BadInput, match=message) as raised:
        load(**arrays)
    assert "\n" not in str(raised.value) and "own.npz" in str(raised.value)


@pytest.mark.parametrize("options, arrays, message", [
    ({"layout": "grey"}, dict(x=X, y=Y), "have no layout grey"), ({"whole": True}, dict(x=X, y=Y), "no whole numbers"),
    ({"padding": 1}, dict(x=X, y=Y), "padding: the inputs are numbers"),
    ({"brightest": 9}, dict(x=X, y=Y), "no pictures"),
    ({"test": 1}, dict(x_train=X, y_train=Y, x_test=X, y_test=Y), "test: .* has a test part of its own"),
    ({"validation": 1}, dict(x_train=X, y_train=Y, x_val=X, y_val=Y), "validation: .* has a validation part"),
    ({"test": 60}, dict(x=X, y=Y), "cannot hold out 60 of its 60"),
    ({"validation": 48}, dict(x=X, y=Y), "cannot hold out"),
    ({"layout": "gray"}, dict(x=X, y=Y), "layout 'gray': did you mean 'grey'"),
    ({"brightest": 9}, dict(x=np.full((60, 4, 4), 10), y=Y), "pixels reach from 10 to 10, outside 0 ... 9"),
    ({"targets": "labels"}, dict(x=X, y=X), "a matrix of 0 and 1"),
    ({"targets": "classes"}, dict(x=X, y=X), "single 1"),
    ({"targets": "classes"}, dict(x=X, y=X[:, 0]), "the targets have fractions"),
    ({"targets": "classes"}, dict(x=X, y=Y * 1e300), r"the target 2e\+300 is too large for a class"),
    ({"targets": "numbers"}, dict(x=X, y=np.array(["a"] * 60)), "the target 'a' is no number"),
    ({"targets": "numbers"}, dict(x=X, y=np.zeros((60, 4097))), "4,097 targets per sample; there must be 1 to 4,096"),
    ({"whole": True}, dict(x=np.full((60, 2), 70_000), y=Y), "above 65,535")])
def test_options_that_do_not_fit_the_arrays_are_refused(load, options, arrays, message):
    with pytest.raises((UsageError, BadInput), match=message):
        load(options, **arrays)


def test_files_that_are_no_archives_are_refused(tmp_path):
    for content in (b"", b"PK\3\4" + bytes(99)):
        (tmp_path / "own.npz").write_bytes(content)
        with pytest.raises(BadInput, match="not a readable NumPy archive"):
            data.load("npz", tmp_path / "own.npz")
    with pytest.raises(BadInput, match="there is no such file"):
        data.load("npz", tmp_path / "none.npz")
    with pytest.raises(BadInput, match="name the file, such as --data arrays.npz"):
        data.load("npz")
