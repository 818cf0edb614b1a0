"""CoNNTrA against Algorithm 2 to the letter: the whole network for every candidate, in the model's own arrays."""
import math

import numpy as np
import pytest

from tinyq import kernels, levels, models
from tinyq.data import Table
from tinyq.methods import CoNNTrA
from tinyq.streams import Streams

SEED = Streams(5)


def samples(n, shape, classes=10):
    """Sparse 8-bit images whose classes can be told apart a little."""
    stream = SEED.key("samples", n, *shape)
    y = stream.integers(0, classes, n)
    x = stream.integers(0, 256, (n, *shape)) * (stream.uniform((n, *shape)) < 0.2)
    for label, image in zip(y, x, strict=True):
        image.reshape(-1)[label::classes] //= 4
    return Table((x / 256).astype(np.float32), y)


def begun(name, n=200, shape=(1, 8, 8), data=None, constrain="all", **settings):
    data = data or samples(n, shape)
    model = models.build(name, 10, shape, constrain).initialise(SEED)
    method = CoNNTrA(**settings)
    method.begin(model, None, data, SEED)
    return method, model, data


class Literal:
    """The network of levels as a list of layers, run from its first layer for every error it is asked for."""

    def __init__(self, method, model, data):
        """Take the levels from the model's parameters; inputs are pixels, and biases count in them."""
        self.x, self.y = np.round(data.features.astype(np.float64) * 256), data.labels
        self.parameters = [np.round(p.data / p.parametrization.scale * 4) / 4 for _, p in model.named_parameters()]
        self.logit_scale = method.inverse_temperature / 256 * math.prod(method.search.scales[:, 0].tolist())
        self.measure = method.error
        sets = [method.levels.of(name).values for name, _ in model.named_parameters()]
        self.flat = [(p, i, levels) for p, levels in zip(self.parameters, sets, strict=True)
                     for i in np.ndindex(p.shape)]

    def logits(self):
        """Convolutions (four axes) pool and rectify; full connections rectify but for the last."""
        x = self.x
        for k in range(0, len(self.parameters), 2):
            w, b = self.parameters[k:k + 2]
            if w.ndim == 4:
                x = pooled(convolved(x, w, 2 if k == 0 else 0) + b[:, None, None])
            else:
                x = x.reshape(len(x), -1) @ w.T + b
            x = x if k + 2 == len(self.parameters) else np.maximum(x, 0)
        return x

    def error(self):
        logits = self.logits()
        if self.measure == "rate":
            return np.count_nonzero(logits.argmax(axis=1) != self.y)
        y = logits * self.logit_scale
        n = np.floor(y * (1 / math.log(2)) + 0.5)
        top = n.max(axis=1)
        terms = kernels.exp((y - n * math.log(2)).astype(np.float32)) * np.float32(2) ** (n - top[:, None]).astype(int)
        total = np.zeros(len(top), np.float32)
        for column in terms.T.astype(np.float32):
            total += column
        mantissa, power = np.frexp(total)
        losses = kernels.log(2 * mantissa).astype(np.float64) + (power - 1 + top) * math.log(2)
        losses -= y[np.arange(len(top)), self.y]
        return int(np.floor(losses * 2**24 + 0.5).astype(np.int64).sum())

    def search(self, picks):
        """Algorithm 2, lines 7 to 20: [(level kept, error)]."""
        best, record = self.error(), []
        for pick in picks.tolist():
            parameter, index, levels = self.flat[pick]
            kept = parameter[index]
            for level in levels:
                parameter[index] = level
                error = self.error()
                if error <= best:
                    best, kept = error, level
            parameter[index] = kept
            record.append((kept, best))
        return record


def convolved(x, w, padding):
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=(2, 3))
    n, c, h, v = windows.shape[:4]
    columns = windows.transpose(0, 2, 3, 1, 4, 5).reshape(n * h * v, -1)
    return (columns @ w.reshape(len(w), -1).T).reshape(n, h, v, -1).transpose(0, 3, 1, 2)


def pooled(x):
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w // 2, 2).max(axis=(3, 5))


@pytest.mark.parametrize("name, n, shape, level_set, error, visits", [
    ("logistic", 200, (1, 8, 8), "ternary", "rate", 2000),
    ("logistic", 200, (1, 8, 8), "shift2", "cross-entropy", 2000),
    ("logistic", 4200, (1, 4, 4), "ternary", "rate", 200),                # blocks enough for threads
    ("mlp:20,16", 200, (1, 8, 8), "ternary", "rate", 2000),
    ("mlp:20,16", 100, (1, 8, 8), "shift1", "cross-entropy", 2000),
    ("mlp:20,16", 100, (1, 8, 8), "fc1=binary,fc2=shift2,*=-1,0,2", "rate", 1000),
    ("mlp:20,16", 100, (1, 8, 8), "fc1=shift1,fc2=-1,0,2,*=shift2", "cross-entropy", 1000),
    ("lenet", 3, (1, 28, 28), "ternary", "cross-entropy", 500),
    pytest.param("lenet", 3, (1, 28, 28), "ternary", "cross-entropy", 2000, marks=pytest.mark.slow),
    ("lenet", 3, (1, 28, 28), "binary", "rate", 150),
])
def test_it_is_algorithm_2_pick_for_pick_move_for_move(name, n, shape, level_set, error, visits):
    method, model, data = begun(name, n, shape, levels=levels.parse(level_set), error=error)
    assert method.search.units.exact
    literal = Literal(method, model, data)
    picks = SEED.key("picks").integers(0, len(method.search.held.codes), visits)
    early = SEED.key("early").integers(0, model.parameters()[0].size, visits // 10)
    picks[:visits // 10] = early                                          # LeNet's first layer is small
    assert int(method.search.held.block_errors.sum()) == literal.error()
    codes, errors, _, _ = kernels.visit(picks, method.search.held)
    record = literal.search(picks)
    kept = [literal.flat[pick][2][code] for pick, code in zip(picks.tolist(), codes.tolist(), strict=True)]
    np.testing.assert_array_equal(kept, [level for level, _ in record])
    np.testing.assert_array_equal(errors, [error for _, error in record])


def test_a_logit_that_leaves_the_others_far_behind_is_added_up_anew():
    method, model, data = begun("logistic", 200, (1, 8, 8), error="cross-entropy", inverse_temperature=3e4)
    literal = Literal(method, model, data)
    picks = SEED.key("far").integers(0, len(method.search.held.codes), 300)
    _, errors, moved, _ = kernels.visit(picks, method.search.held)
    assert moved.any()
    np.testing.assert_array_equal(errors, [error for _, error in literal.search(picks)])
