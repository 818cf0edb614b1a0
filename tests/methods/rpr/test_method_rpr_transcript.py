"""RPR's training against an independent transcript of methods/README.md, section 2, in plain NumPy, float64.

The transcript shares no line with tinyq: its own network, gradients, Adam and schedule, and scales found by trying
every assignment of levels to a filter's weights. It is told which entries are relaxed, and nothing else.
"""
from itertools import product
from typing import NamedTuple

import numpy as np
import pytest

from tinyq import nn
from tinyq.levels import NAMED, parse
from tinyq.methods import RPR
from tinyq.optim import Adam, groups_by_decay
from tinyq.streams import Streams

SIZES = [6, 9, 8, 7, 3]                                          # layers 1 and 2 of 0 .. 3 are constrained
LR, DECAY, STEPS_AN_EPOCH = 0.02, 1e-2, 6
RATES = [1, 1, 1, 1, 1, 0.1, 1, 0.1, 0.01]                       # of each epoch: three at 0.5, at 0.75 and at 1


class Batch(NamedTuple):
    x: np.ndarray
    y: np.ndarray


def batch(i):
    rng = np.random.default_rng([1, i])
    y = rng.integers(0, 3, 12)
    return Batch(rng.standard_normal((12, 6)) + y[:, None], y)


def scale_by_trying_everything(w, levels):
    q = np.array(list(product(levels, repeat=len(w))))
    a, b = q @ w, (q * q).sum(axis=1)
    errors = np.where((a > 0) & (b > 0), -a * a / np.where(b > 0, b, 1), 0)
    return a[errors.argmin()] / b[errors.argmin()]


class Transcript:
    """A network of ReLU layers under RPR with Adam."""

    def __init__(self, weights, biases, levels):
        self.p = {**{("w", i): w for i, w in enumerate(weights)}, **{("b", i): b for i, b in enumerate(biases)}}
        self.levels, self.constrained = levels, [1, 2]
        self.s = {i: np.array([scale_by_trying_everything(row, levels) for row in weights[i]])[:, None]
                  for i in self.constrained}
        for i in self.constrained:
            self.p["w", i] = self.p["w", i] / self.s[i]
        self.m, self.v, self.t = ({key: 0.0 * p for key, p in self.p.items()} for _ in range(3))

    def nearest(self, w):
        distance = np.abs(w[..., None] - self.levels)
        return self.levels[distance.argmin(axis=-1)]              # the first, lower one on a tie

    def step(self, x, y, relaxed, lr):
        shown = [self.p["w", i] for i in range(4)]
        for i in self.constrained:
            shown[i] = self.s[i] * np.where(relaxed[i], shown[i], self.nearest(shown[i]))
        acts = [x]
        for i, w in enumerate(shown):
            z = acts[-1] @ w.T + self.p["b", i]
            acts.append(np.maximum(z, 0) if i < 3 else z)
        p = np.exp(acts[-1] - acts[-1].max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        g = (p - np.eye(3)[y]) / len(y)
        for i in reversed(range(4)):
            gradient = {("w", i): g.T @ acts[i], ("b", i): g.sum(axis=0)}
            g = (g @ shown[i]) * (acts[i] > 0)
            if i in self.constrained:
                gradient["w", i] *= self.s[i]
            for key, grad in gradient.items():
                self.adam(key, grad, relaxed[i] if key[0] == "w" and i in self.constrained else True, lr)
        return -np.log(p[np.arange(len(y)), y]).mean()

    def adam(self, key, grad, where, lr):
        grad = grad + DECAY * self.p[key] * (key[0] == "w")
        self.t[key] = self.t[key] + 1                             # of the tensor, not of its entries
        self.m[key] = np.where(where, 0.9 * self.m[key] + 0.1 * grad, self.m[key])
        self.v[key] = np.where(where, 0.999 * self.v[key] + 0.001 * grad**2, self.v[key])
        mean, square = self.m[key] / (1 - 0.9**self.t[key]), self.v[key] / (1 - 0.999**self.t[key])
        self.p[key] = np.where(where, self.p[key] - lr * mean / (np.sqrt(square) + 1e-8), self.p[key])


@pytest.mark.parametrize("levels", [NAMED["binary"], NAMED["ternary"], parse("-0.5,0.25,1")], ids=lambda s: s.name)
def test_a_whole_run_agrees_to_1e_9(levels):
    layers = [layer for a, b in zip(SIZES, SIZES[1:], strict=False) for layer in (nn.Linear(a, b), nn.ReLU())]
    model = nn.constrain(nn.Sequential(*layers[:-1])).initialise(Streams(5)).astype(np.float64)
    linear = layers[:-1:2]
    other = Transcript(*([getattr(m, name).data.copy() for m in linear] for name in ("weight", "bias")), levels.values)
    method = RPR(levels=levels, epochs=9, fractions="0.5,0.75,1", period=3, final=3)
    method.begin(model, Adam(groups_by_decay(model.parameters(), DECAY), lr=LR), None, Streams(0))

    for epoch, rate in enumerate(RATES):
        relaxed = {i: layer.relaxed for i, layer in zip(other.constrained, method.weights, strict=True)}
        for i in range(STEPS_AN_EPOCH):
            data = batch(STEPS_AN_EPOCH * epoch + i)
            ours, theirs = method.step([data]), other.step(*data, relaxed, LR * rate)
            assert ours == pytest.approx(theirs, rel=1e-9, abs=0), (epoch, i)
            for (kind, k), p in other.p.items():
                mine = getattr(linear[k], {"w": "weight", "b": "bias"}[kind]).data
                np.testing.assert_allclose(mine, p, rtol=0, atol=1e-9, err_msg=f"{epoch} {i} {kind}{k}")
        method.end_epoch()
    assert method.done
    method.finish()
    for i in other.constrained:
        np.testing.assert_allclose(linear[i].weight.data, other.s[i] * other.nearest(other.p["w", i]), rtol=1e-12)
