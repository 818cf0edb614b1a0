"""CoNNTrA on a loss of numbers or labels: outputs of every level, errors by definition, chains and branches."""
import math

import numpy as np
import pytest

from tinyq import kernels, levels, models, nn
from tinyq.autodiff import Tensor
from tinyq.data import Table
from tinyq.errors import UsageError
from tinyq.kernels.reference.search import outputs as reference
from tinyq.kernels.search.tables import LOSS_UNIT
from tinyq.methods import CoNNTrA
from tinyq.streams import Streams
from tinyq.tasks.loss import BinaryCrossEntropy, CrossEntropy, MeanSquaredError
from tinyq.tasks.task import REGRESSION, SEVERAL_LABELS

SEED = Streams(4)


class Share:
    """A batch of which only the number of samples is looked at."""

    def __init__(self, n):
        self.y = np.zeros(n)


class Shortcut(nn.Module):
    """Two layers with a shortcut, which no chain of stages is."""

    def __init__(self):
        self.fc1, self.fc2 = nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x):
        return self.fc2(x + self.fc1(x))


def begun(model, shape, y, samples=40, whole=True, **settings):
    x = SEED.key("x", str(shape)).integers(0, 17, (samples, *shape)).astype(np.float32) / 16
    x = x if whole else x / np.float32(3)
    method = CoNNTrA(**settings)
    method.begin(nn.constrain(model, "all"), None, Table(x, y), SEED)
    return method, x


def mlp():
    return models.build("mlp:7", 2, (6,), "all")


def normalised():
    return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2))


@pytest.mark.parametrize("model, whole, chosen", [(mlp, True, "ternary"), (mlp, False, "fc1=binary,*=shift1"),
                                                  (normalised, True, "ternary")])
def test_the_outputs_of_every_level_are_those_of_the_whole_network(model, whole, chosen):
    y = SEED.key("y").normal((5, 2)).astype(np.float32)
    method, _ = begun(model().initialise(SEED), (6,), y, 5, whole, levels=levels.parse(chosen),
                      loss=MeanSquaredError(REGRESSION))
    held = method.search.held
    exact = method.search.units.exact
    for pick in SEED.key("picks").integers(0, len(held.codes), 8):
        picked = np.array([pick])
        ours = kernels.outputs_of_levels(picked, held)
        theirs = reference.outputs_of_levels(picked, held)
        np.testing.assert_allclose(ours[..., :5], theirs[..., :5], rtol=0 if exact else 1e-9, atol=0 if exact else 1e-9)
        code = (int(held.codes[pick]) + 1) % len(ours)
        kernels.settle(picked, code, held)
        assert held.codes[pick] == code
        kept = kernels.outputs_of_levels(picked, held)[code]
        np.testing.assert_allclose(kept[..., :5], ours[code][..., :5], rtol=0 if exact else 1e-9, atol=1e-12)


@pytest.mark.parametrize("model", [lambda: models.build("mlp:5", 2, (6,), "all"), Shortcut], ids=["chain", "branches"])
@pytest.mark.parametrize("loss, y", [
    (MeanSquaredError(REGRESSION), SEED.key("t").normal((40, 2)).astype(np.float32)),
    (BinaryCrossEntropy(SEVERAL_LABELS, class_weights=(1.0, 3.0)),
     SEED.key("l").integers(0, 2, (40, 2)).astype(np.float32)),
    (CrossEntropy(class_weights=(2.0, 0.5), ignore_index=None), SEED.key("c").integers(0, 2, 40))],
    ids=["numbers", "labels", "classes"])
def test_the_error_is_the_loss_of_the_network_and_never_rises(model, loss, y):
    network = model().initialise(SEED)
    method, x = begun(network, (6,), y, loss=loss)
    errors = [method.step([Share(10)]) for _ in range(4)]
    assert all(after <= before for before, after in zip(errors, errors[1:], strict=False)) and errors[-1] < 10
    network.astype(np.float64)
    shown = loss(network(Tensor(x.astype(np.float64))), y).item()
    assert errors[-1] == pytest.approx(shown, rel=1e-5, abs=LOSS_UNIT)
    visits = method.visited
    assert (visits.errors == visits.tried.min(1)).all()
    record = method.end_epoch()
    assert record["train_loss"] == errors[-1] and ("train_accuracy" in record) == (loss.task is not REGRESSION)


def test_ignored_samples_are_not_searched_on():
    y = SEED.key("c").integers(0, 3, 40)
    model = models.build("mlp:5", 3, (6,), "all").initialise(SEED)
    method, _ = begun(model, (6,), y, loss=CrossEntropy(ignore_index=2))
    assert len(method.targets) == np.count_nonzero(y != 2)
    assert math.isfinite(method.step([Share(10)])) and method.search.loss is None         # the rate, counted exactly


@pytest.mark.parametrize("error", ["rate", "cross-entropy"])
def test_an_error_of_classes_is_refused_for_numbers(error):
    with pytest.raises(UsageError, match=f"error {error}: counts classes, and the targets are numbers"):
        CoNNTrA(error=error, loss=MeanSquaredError(REGRESSION))
