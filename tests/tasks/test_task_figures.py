"""Figures of regression and several labels against their definitions; losses as settings name them."""
import math

import numpy as np
import pytest

from tinyq.autodiff import Tensor
from tinyq.errors import BadInput, UsageError
from tinyq.tasks.loss import BinaryCrossEntropy, CrossEntropy, MeanSquaredError, OwnLoss
from tinyq.tasks.loss_choice import LOSSES, balanced, loss_of_file, make_loss
from tinyq.tasks.scores import LabelScores, NumberScores, Tally, average_precision
from tinyq.tasks.task import CLASSIFICATION, REGRESSION, SEVERAL_LABELS

RNG = np.random.default_rng(3)


def by_definition(scores, holds):
    """The mean over the samples that hold of the precision at their own score."""
    at = [np.mean(holds[scores >= score]) for score in scores[holds]]
    return np.mean(at)


def test_an_average_precision_is_the_mean_of_the_precisions_at_each_hit():
    for _ in range(20):
        scores, holds = RNG.integers(0, 6, 15).astype(float), RNG.integers(0, 2, 15) > 0
        assert average_precision(scores, holds) == pytest.approx(by_definition(scores, holds))
    assert average_precision(np.array([3.0, 2, 1]), np.array([True, True, False])) == 1
    assert average_precision(np.ones(2), np.zeros(2, bool)) is None


def test_r2_is_0_for_the_mean_and_1_for_the_truth_and_stays_finite_for_equal_targets():
    y = RNG.standard_normal((9, 3))
    y[:, 2] = 5
    outputs = np.stack([y[:, 0], np.full(9, y[:, 1].mean()), np.full(9, 5.0)], 1)
    assert NumberScores(0.0, outputs, y).r2s == pytest.approx([1, 0, 1])
    assert NumberScores(0.0, outputs + [0, 0, 1], y).r2s[2] == 0
    assert NumberScores(0.0, outputs + [1, 0, 0], y).recorded["mean_squared_error"] == pytest.approx(
        (1 + y[:, 1].var()) / 3)


@pytest.mark.parametrize("samples", [3, 7, 10, 30, 100])
@pytest.mark.parametrize("value", [0.1, 0.3, 1 / 3, 1e9])
def test_r2_of_equal_targets_is_0_or_1_whose_mean_is_rounded_too(samples, value):
    y = np.full((samples, 1), value)
    assert NumberScores(0.0, y, y).r2s == 1 and NumberScores(0.0, y + 1e-3, y).r2s == 0


def test_labels_hold_where_the_output_is_above_0():
    scores = LabelScores(0.0, np.array([[1.0, -1], [-1, 0]]), np.array([[True, True], [True, False]]))
    assert scores.label_accuracy == [0.5, 0.5] and scores.recorded["error"] == 0.5
    assert LabelScores(0.0, np.ones((2, 1)), np.zeros((2, 1), bool)).figures["mean_average_precision"] == 0


def test_a_tally_in_parts_gives_the_weighted_mean_of_the_whole():
    loss = CrossEntropy(class_weights=(1.0, 5.0, 0.5), ignore_index=0)
    logits, y = RNG.standard_normal((30, 3)).astype(np.float32), RNG.integers(0, 3, 30)
    tally = Tally(loss, 3)
    for part in np.split(np.arange(30), [7, 11]):
        tally.add(loss(Tensor(logits[part]), y[part]).item(), logits[part], y[part])
    assert tally.scores.loss == pytest.approx(loss(Tensor(logits), y).item(), rel=1e-6)
    assert tally.scores.samples == np.count_nonzero(y != 0)


@pytest.mark.parametrize("loss, expected", [
    (MeanSquaredError(), lambda x, y: np.mean((x - np.eye(3)[y]) ** 2)),
    (BinaryCrossEntropy(), lambda x, y: np.mean(np.log1p(np.exp(x)) - x * np.eye(3)[y]))])
def test_classes_become_0_and_1_for_a_loss_of_numbers(loss, expected):
    x, y = RNG.standard_normal((5, 3)), np.array([0, 2, 1, 1, 0])
    assert loss(Tensor(x), y).item() == pytest.approx(expected(x, y))
    assert loss.right(x, y) == (np.count_nonzero(x.argmax(1) == y), 5)


def test_ignored_samples_reach_neither_the_loss_nor_the_count():
    x, y = RNG.standard_normal((4, 3)), np.array([0, 1, 1, 2])
    loss, plain = MeanSquaredError(ignore_index=1), MeanSquaredError()
    assert loss(Tensor(x), y).item() == plain(Tensor(x[[0, 3]]), y[[0, 3]]).item() and loss.size(y) == 2
    logits = Tensor(x, requires_grad=True)
    nothing = loss(logits, np.ones(4, np.int64))
    nothing.backward()
    assert nothing.item() == 0 and not logits.grad.any() and loss.right(x, np.ones(4, np.int64)) == (0, 0)


@pytest.mark.parametrize("task, better, worse", [(CLASSIFICATION, 0.9, 0.8), (REGRESSION, 0.1, 0.2),
                                                 (SEVERAL_LABELS, 0.9, 0.8)])
def test_a_better_figure_is_known_and_a_nan_is_none(task, better, worse):
    assert task.better(better, worse) and not task.better(worse, better) and task.better(worse, None)
    assert not task.better(math.nan, worse) and not task.better(math.inf, None)


def test_balanced_weights_weigh_all_classes_alike():
    y = np.array([0] * 6 + [1] * 3 + [2])
    weights = np.array(balanced(y, 4))
    assert (weights[:3] * [6, 3, 1]).tolist() == [2.5] * 3 and weights[3] == 0
    assert balanced(y, 3, ignore_index=0)[0] == 0


@pytest.mark.parametrize("settings, targets, labels, error, words", [
    ({"loss": "mse", "label_smoothing": 0.1}, "numbers", [[0.5, 1]], UsageError, "label_smoothing 0.1: has no effect"),
    ({"loss": "mse", "class_weights": "1,2"}, "numbers", [[0.5, 1]], UsageError, "class_weights 1,2: have no effect"),
    ({"loss": "mse", "ignore_index": 1}, "numbers", [[0.5, 1]], UsageError, "only a class can be ignored"),
    ({"loss": "bce", "class_weights": "balanced"}, "labels", [[0.0, 1]], UsageError, "give numbers, one per output"),
    ({"loss": "bce", "class_weights": "1,-2"}, "labels", [[0.0, 1]], UsageError, "one per label, such as 1,1$"),
    ({"loss": "bce", "class_weights": "x"}, "classes", [[0, 1]], UsageError, "one per class, such as 1,1; or balanced"),
    ({"loss": "bce", "class_weights": "1,x"}, "labels", [[0.0, 1]], UsageError, "such as 1,1$"),
    ({"loss": "cross-entropy"}, "numbers", [[0.5, 0.7]], BadInput, r"sample 0 of train is 0.5, 0.7, but .* loss mse"),
    ({"loss": "cross-entropy"}, "numbers", [[0.5, 0.5], [-1, 2]], BadInput, "sample 1 of train"),
    ({"loss": "bce"}, "labels", [[0.5, 1.5]], BadInput, "must lie between 0 and 1"),
    ({"loss": "mse"}, "numbers", [[0.5, math.nan]], BadInput, "must be finite"),
    ({"loss": "mse"}, "numbers", [[0.5]], BadInput, "a target of train has 1 numbers, but the network has 2 outputs"),
    ({"loss": "mse", "ignore_index": 2}, "classes", [0, 1], UsageError, "no sample has this class; .* from 0 to 1"),
    ({"loss": "cross-entropy", "ignore_index": 1}, "classes", [1, 1], BadInput, "not one of the 2 samples of train"),
    ({"loss": "cross-entropy", "class_weights": "1,0"}, "classes", [1, 1], BadInput, "a weight above 0")])
def test_targets_and_options_that_do_not_fit_are_refused(settings, targets, labels, error, words):
    with pytest.raises(error, match=words):
        make_loss(settings, targets, 2, {"train": np.array(labels)})


def test_an_own_loss_is_tried_and_a_plug_in_s_is_found(monkeypatch):
    monkeypatch.setitem(LOSSES, "absolute", lambda x, y: abs(x - y).mean())
    labels = {"train": np.array([[1.0], [2.0]], np.float32)}
    loss = make_loss({"loss": "absolute"}, "numbers", 1, labels)
    assert isinstance(loss, OwnLoss) and loss(Tensor(np.zeros((2, 1))), labels["train"]).item() == 1.5
    with pytest.raises(UsageError, match=r"a Tensor of shape \(2, 1\), not the mean"):
        make_loss({"loss": "own"}, "numbers", 1, labels, lambda x, y: x)
    with pytest.raises(UsageError, match="a float, not the mean"):
        make_loss({"loss": "own"}, "numbers", 1, labels, lambda x, y: 1.0)


def test_a_file_with_a_loss_that_is_code_gives_a_loss_of_its_task_without_a_value():
    loss, known = loss_of_file({"loss": "own.py:f", "targets": "numbers"}, 1, {"test": np.ones((2, 1), np.float32)})
    assert not known and loss.task is REGRESSION and loss(Tensor(np.ones((2, 1))), np.ones((2, 1))).item() == 0
    with pytest.raises(BadInput, match="the file names cannot be measured"):
        loss_of_file({"loss": "mse", "class_weights": "1"}, 1, {"test": np.ones((2, 1))})


def test_balanced_weights_of_a_file_are_unknown_without_the_training_samples():
    file, y = {"class_weights": "balanced"}, np.array([0, 0, 1])
    loss, known = loss_of_file(file, 2, {"test": y})
    assert loss == CrossEntropy() and not known
    assert loss_of_file(file, 2, {"train": y, "test": y}) == (CrossEntropy(class_weights=balanced(y, 2)), True)
