"""The digits network learns the embedded digits, and its inner layers bear being ternary."""
import numpy as np
import pytest

from tinyq import data, levels, models, nn
from tinyq.autodiff import no_record
from tinyq.methods.straight_through import LevelQuantizer
from tinyq.optim import SGD
from tinyq.schedules import Cosine
from tinyq.streams import Streams


def train(model, samples, epochs, lr):
    optimizer, schedule = SGD(model.parameters(), lr, momentum=0.9, weight_decay=1e-4), Cosine(epochs)
    loader = data.Loader(samples, 64, Streams(0), shuffle=True)
    for epoch in range(epochs):
        model.train()
        for step, batch in enumerate(loader.epoch(epoch)):
            schedule.apply(optimizer, epoch + step / len(loader))
            optimizer.zero_grad()
            nn.cross_entropy(model(batch.x), batch.y).backward()
            optimizer.step()


def accuracy(model, samples):
    x, y = samples.batch(np.arange(len(samples)))
    with no_record():
        return float(np.mean(model.eval()(x).data.argmax(1) == y))


@pytest.mark.parametrize("seed", [0, 1])
def test_float_reaches_97_5_percent_and_ternary_inner_layers_stay_within_1_5_points(seed):
    digits = data.load("digits")
    model = models.build("digits_cnn", digits.num_classes, digits.input_shape).initialise(Streams(seed))
    train(model, digits.train, epochs=8, lr=0.05)
    with_floats = accuracy(model, digits.test)

    inner = [p for _, p in model.constrained_parameters()]
    for p in inner:
        p.parametrization = LevelQuantizer(levels.NAMED["ternary"], np.abs(p.data).mean(dtype=np.float64))
    train(model, digits.train, epochs=5, lr=0.01)
    assert len(inner) == 2 and with_floats >= 0.975
    assert accuracy(model, digits.test) >= with_floats - 0.015
