import numpy as np
import pytest

from tinyq import nn
from tinyq.autodiff import Tensor
from tinyq.data import Table
from tinyq.saved.measure import logits_of, measure
from tinyq.saved.predictions import Predictions


class Given(nn.Module):
    """Returns its inputs as logits."""

    def forward(self, x):
        return x


def scores_of(logits, labels, **options):
    logits = np.array(logits, np.float32)
    return measure(Given(), Table(logits, np.array(labels, np.int64)), logits.shape[1], logits.shape[1:], **options)


def test_counts_are_those_of_a_small_example():
    scores = scores_of([[3, 1, 0], [0, 1, 2], [0, 5, 1], [1, 0, 0]], [0, 1, 1, 2])
    assert scores.samples == 4 and scores.accuracy == 0.5
    assert scores.confusion.tolist() == [[1, 0, 0], [0, 1, 1], [1, 0, 0]]
    assert scores.correct.tolist() == [1, 1, 0]
    assert scores.top5_accuracy is None


def test_ties_go_to_the_lower_class_also_among_five():
    logits = np.zeros((11, 11))
    scores = scores_of(logits, np.arange(11))
    assert scores.correct.tolist() == [1] + [0] * 10
    assert scores.top5 == 5 and scores.top5_accuracy == pytest.approx(5 / 11)


def test_the_batch_size_changes_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((23, 12)), rng.integers(0, 12, 23)
    whole = scores_of(logits, labels)
    monkeypatch.setattr("tinyq.saved.measure.MAX_NUMBERS", 5 * 12)
    parts = scores_of(logits, labels)
    assert np.array_equal(whole.confusion, parts.confusion) and whole.top5 == parts.top5
    assert whole.loss == pytest.approx(parts.loss, rel=1e-6)


def test_measuring_leaves_the_mode_and_the_running_statistics_alone():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    before = model.state_dict()
    model.train()
    y = logits_of(model, np.ones((2, 3), np.float32))
    assert y.shape == (2, 4) and model.training and not Tensor(y).requires_grad
    assert all(np.array_equal(before[name], array) for name, array in model.state_dict().items())


def test_predictions_name_the_likeliest_classes(tmp_path):
    logits = np.array([[3, 1, 1], [9, 9, 9], [0, 5, 1]], np.float32)
    data = Table(logits, np.array([0, 1, 2]))
    predictions = Predictions(data, ["a", "b", "c"])
    measure(Given(), data, 3, (3,), each=predictions.add)
    predictions.write(tmp_path / "p.csv")
    lines = (tmp_path / "p.csv").read_text().splitlines()
    assert lines[0] == "sample,label,class_1,probability_1,class_2,probability_2,class_3,probability_3"
    assert lines[1] == "0,a,a,0.786986,b,0.106507,c,0.106507"
    assert [line.split(",")[2] for line in lines[1:]] == ["a", "a", "b"]
