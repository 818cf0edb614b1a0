"""Losses: values by hand and errors."""
import math

import numpy as np
import pytest

from tinyq import nn
from tinyq.autodiff import Tensor, losses
from tinyq.errors import TinyqError


def test_cross_entropy_by_hand():
    logits = Tensor(np.log([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]), requires_grad=True)
    y = losses.softmax_cross_entropy(logits, np.array([0, 1]))
    assert y.item() == pytest.approx(-(math.log(0.5) + math.log(0.1)) / 2)
    y.backward()
    assert np.allclose(logits.grad, np.array([[-0.5, 0.25, 0.25], [0.1, -0.9, 0.8]]) / 2)


def test_label_smoothing_by_hand():
    logits = np.log([[0.5, 0.25, 0.25]])
    expected = 0.7 * -math.log(0.5) + 0.1 * -sum(map(math.log, (0.5, 0.25, 0.25)))
    assert losses.softmax_cross_entropy(logits, np.array([0]), smoothing=0.3).item() == pytest.approx(expected)


def test_a_gradient_reaches_the_loss_with_its_factor():
    logits = Tensor(np.zeros((1, 2), np.float32), requires_grad=True)
    (losses.softmax_cross_entropy(logits, np.array([1])) * 4.0).backward()
    assert logits.grad.tolist() == [[2, -2]]


def test_mean_squared_error():
    x, target = Tensor(np.array([1.0, 2.0]), requires_grad=True), Tensor(np.array([0.0, 4.0]), requires_grad=True)
    y = losses.mean_squared_error(x, target)
    y.backward()
    assert y.item() == 2.5 and x.grad.tolist() == [1, -2] and target.grad.tolist() == [-1, 2]


@pytest.mark.parametrize("logits, labels, words", [
    (np.zeros(3), np.array([0]), r"softmax_cross_entropy: the logits must be \(n, classes\); inputs: float64 \(3,\)"),
    (np.zeros((2, 3)), np.array([0]), "labels"),
    (np.zeros((2, 3)), np.array([0, 3]), "label 3"),
    (np.zeros((2, 3)), np.array([-1, 0]), "label -1"),
])
def test_labels_that_do_not_fit_are_refused(logits, labels, words):
    with pytest.raises(TinyqError, match=words):
        losses.softmax_cross_entropy(logits, labels)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, 2.0, float("nan")])
def test_a_smoothing_that_is_no_share_is_refused(smoothing):
    with pytest.raises(TinyqError, match="label smoothing"):
        losses.softmax_cross_entropy(np.zeros((2, 3), np.float32), np.array([0, 1]), smoothing=smoothing)


@pytest.mark.parametrize("labels, options, words", [
    (np.array([0, 5]), {"class_weights": np.ones(3)}, "2 samples and 3 classes; one is 5"),
    (np.array([0, 1]), {"class_weights": np.ones(2)}, r"class weights of shape \(2,\) do not fit 3 classes"),
    (np.array([[0, 1]]), {"ignore_index": 1}, r"labels of shape \(1, 2\)"),
    (np.ones((2, 2)), {}, "probabilities of shape"),
    (np.ones((2, 3)), {"ignore_index": 0}, "no label to ignore"),
    (np.ones((2, 3)), {"label_smoothing": 1.0}, "label smoothing"),
])
def test_targets_that_do_not_fit_are_refused(labels, options, words):
    with pytest.raises(TinyqError, match=words):
        nn.cross_entropy(Tensor(np.zeros((2, 3))), labels, **options)


def test_a_batch_whose_samples_are_all_ignored_has_no_loss_and_no_gradient():
    logits = Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    loss = nn.cross_entropy(logits, np.array([7, 7]), ignore_index=7)
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()


def test_an_infinitely_unlikely_class_without_a_target_costs_nothing():
    logits = np.array([[0.0, -np.inf]], np.float32)
    assert losses.cross_entropy_of_targets(logits, np.array([[1, 0]], np.float32)).item() == 0


@pytest.mark.parametrize("targets", [np.zeros((3, 2)), np.zeros((0, 2))])
def test_binary_targets_of_another_shape_are_refused(targets):
    with pytest.raises(TinyqError, match="one shape"):
        nn.binary_cross_entropy_with_logits(Tensor(np.zeros((len(targets), 1))), targets)
