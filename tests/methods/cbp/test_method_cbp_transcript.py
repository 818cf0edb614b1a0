"""CBP's training step against an independent transcript of methods/README.md, section 1, in plain NumPy, float64.

The transcript shares no line with tinyq: its own network, gradients, quantiser, constraint function (by tents and
conditions, as the text has it), Adam, SGD and schedule.
"""
from typing import NamedTuple

import numpy as np
import pytest

from tinyq import nn
from tinyq.levels import NAMED, parse
from tinyq.methods import CBP
from tinyq.optim import SGD, groups_by_decay
from tinyq.streams import Streams

STEPS, STEPS_AN_EPOCH = 50, 2
SIZES = [6, 10, 9, 8, 3]                                         # layers 1 and 2 of 0 .. 3 are constrained
LR, MOMENTUM, DECAY, LAMBDA_LR = 0.05, 0.9, 1e-2, 0.03


class Batch(NamedTuple):
    x: np.ndarray
    y: np.ndarray


def batch(i):
    rng = np.random.default_rng([1, i])
    y = rng.integers(0, 3, 12)
    return Batch(rng.standard_normal((12, 6)) + y[:, None], y)


class Transcript:
    """A network of ReLU layers under CBP."""

    def __init__(self, weights, biases, levels, period):
        self.w, self.b, self.L, self.period = weights, biases, levels, period
        self.constrained = [1, 2]
        self.a = {i: np.abs(self.w[i]).mean() for i in self.constrained}
        self.lam = {i: np.zeros_like(self.w[i]) for i in self.constrained}
        self.m = {i: np.zeros_like(self.w[i]) for i in self.constrained}
        self.v = {i: np.zeros_like(self.w[i]) for i in self.constrained}
        self.velocity, self.t, self.g, self.lr = {}, 0, 1, LR
        self.before, self.since, self.total = np.inf, 0, 0.0
        self.ascend()

    def quantised(self, i):
        """The nearest scaled level; argmin takes the first of two equals, the lower level."""
        q = self.a[i] * self.L
        return q[np.abs(self.w[i][..., None] - q).argmin(axis=-1)]

    def constraint(self, i):
        w, q, u = self.w[i], self.a[i] * self.L, 1 - 1 / self.g
        cs = np.where(w < q[0], -2 * (w - q[0]), np.where(w >= q[-1], 2 * (w - q[-1]), 0.0))
        slope = np.where(w < q[0], -2.0, np.where(w >= q[-1], 2.0, 0.0))
        for low, high in zip(q[:-1], q[1:], strict=True):
            h, m = high - low, (low + high) / 2
            tent = np.maximum(np.minimum((w - low) / (m - low), (w - high) / (m - high)) * h, 0)
            cs = cs + np.where(tent > u * h, 0, tent)
            slope = slope + 2.0 * ((w >= low) & (w < low + (m - low) * u))
            slope = slope - 2.0 * ((w >= high + (m - high) * u) & (w < high))
        return cs, slope

    def ascend(self):
        self.t += 1
        for i in self.constrained:
            d = self.constraint(i)[0]
            self.m[i] = 0.9 * self.m[i] + 0.1 * d
            self.v[i] = 0.999 * self.v[i] + 0.001 * d**2
            corrected = np.sqrt(self.v[i] / (1 - 0.999**self.t))
            self.lam[i] = self.lam[i] + LAMBDA_LR * (self.m[i] / (1 - 0.9**self.t)) / (corrected + 1e-8)

    def step(self, x, y):
        shown = [self.quantised(i) if i in self.constrained else w for i, w in enumerate(self.w)]
        acts = [x]
        for i, (w, b) in enumerate(zip(shown, self.b, strict=True)):
            z = acts[-1] @ w.T + b
            acts.append(np.maximum(z, 0) if i < len(shown) - 1 else z)
        p = np.exp(acts[-1] - acts[-1].max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        lagrangian = -np.log(p[np.arange(len(y)), y]).mean()
        g = (p - np.eye(3)[y]) / len(y)
        grads = {}
        for i in reversed(range(len(shown))):
            grads["w", i], grads["b", i] = g.T @ acts[i], g.sum(axis=0)
            g = (g @ shown[i]) * (acts[i] > 0)
        for i in self.constrained:
            cs, slope = self.constraint(i)
            lagrangian += (self.lam[i] * cs).sum()
            grads["w", i] = grads["w", i] + self.lam[i] * slope
        for (kind, i), grad in grads.items():
            where = self.w if kind == "w" else self.b
            grad = np.clip(grad, -1, 1) + (DECAY * where[i] if kind == "w" else 0)
            old = self.velocity.get((kind, i))
            self.velocity[kind, i] = grad if old is None else MOMENTUM * old + grad
            where[i] = where[i] - self.lr * self.velocity[kind, i]
        for i in self.constrained:
            self.w[i] = np.clip(self.w[i], -1, 1)
        self.total += lagrangian
        return lagrangian

    def end_epoch(self):
        self.since += 1
        if self.total >= self.before or self.since == self.period:
            self.g = self.g + 1 if self.g < 10 else self.g + 10
            if self.g == 20:
                self.lr *= 0.1
            self.ascend()
            self.before, self.since = np.inf, 0
        else:
            self.before = self.total
        self.total = 0.0


def network():
    layers = [layer for a, b in zip(SIZES, SIZES[1:], strict=False) for layer in (nn.Linear(a, b), nn.ReLU())]
    model = nn.constrain(nn.Sequential(*layers[:-1])).initialise(Streams(5)).astype(np.float64)
    return model.train()


@pytest.mark.parametrize("levels", [*NAMED.values(), parse("-0.5,0.25,1")], ids=lambda s: s.name)
@pytest.mark.parametrize("period", [1, 4])
def test_fifty_steps_agree_to_1e_9(levels, period):
    model = network()
    linear = [module for _, module in model.named_modules() if isinstance(module, nn.Linear)]
    weights, biases = ([getattr(m, name).data.copy() for m in linear] for name in ("weight", "bias"))
    other = Transcript(weights, biases, levels.values, period)
    method = CBP(levels=levels, lambda_lr=LAMBDA_LR, period=period)
    optimizer = SGD(groups_by_decay(model.parameters(), DECAY), lr=LR, momentum=MOMENTUM)
    method.begin(model, optimizer, None, Streams(0))

    moved = {"clip": False, "window": set()}
    for i in range(STEPS):
        ours, theirs = method.step([batch(i)]), other.step(*batch(i))
        assert ours == pytest.approx(theirs, rel=1e-9, abs=0), i
        for k, module in enumerate(linear):
            np.testing.assert_allclose(module.weight.data, other.w[k], rtol=0, atol=1e-9, err_msg=f"step {i}")
            np.testing.assert_allclose(module.bias.data, other.b[k], rtol=0, atol=1e-9, err_msg=f"step {i}")
        moved["clip"] |= any(np.abs(m.weight.grad).max() == 1 for m in linear)
        if (i + 1) % STEPS_AN_EPOCH == 0:
            method.end_epoch()
            other.end_epoch()
            moved["window"].add(method.g)
            for layer, k in zip(method.weights, other.constrained, strict=True):
                np.testing.assert_allclose(layer.multiplier.data, other.lam[k], rtol=0, atol=1e-9, err_msg=f"step {i}")
            assert method.g == other.g and optimizer.groups[0]["lr"] == pytest.approx(other.lr, rel=1e-15)
    # The run has been through what it is to test.
    assert len(moved["window"]) > 5
    assert method.g >= 20 or period > 1
