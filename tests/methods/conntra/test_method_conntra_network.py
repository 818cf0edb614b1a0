"""CoNNTrA on networks with branches: Algorithm 2 to the letter, whatever is not run again."""
import numpy as np
import pytest

from tinyq import kernels, models, nn
from tinyq.autodiff import Tensor, no_record, shape
from tinyq.data import ImageArray
from tinyq.errors import BadInput, UsageError
from tinyq.kernels.search.tables import LOSS_UNIT, NOT_TRIED
from tinyq.levels import parse
from tinyq.methods import CoNNTrA
from tinyq.methods.conntra import network_search
from tinyq.streams import Streams

SEED = Streams(5)


class Branches(nn.Module):
    """Two convolutions of one input, joined and added to it, then batch norm: nothing of a chain."""

    def __init__(self):
        self.stem, self.left, self.right = nn.Conv2d(1, 4, 1), nn.Conv2d(4, 2, 1), nn.Conv2d(4, 2, 3, padding=1)
        self.norm, self.relu, self.fc = nn.BatchNorm2d(4), nn.ReLU(), nn.Linear(16, 3)

    def forward(self, x):
        x = self.stem(x)
        joined = shape.concatenate(self.left(x), self.right(x), axis=1)
        return self.fc(shape.flatten(self.relu(self.norm(joined + x)), start=1))


def pictures(n=40):
    stream = SEED.key("pictures")
    return ImageArray(stream.integers(0, 256, (n, 1, 2, 2)).astype(np.uint8), stream.integers(0, 3, n), (0.5,), (0.25,))


def begun(data, model=None, state=None, **settings):
    method = CoNNTrA(**settings)
    model = model or nn.constrain(Branches().initialise(SEED), "all")
    method.begin(model, None, data, SEED, state=state)
    return method, model


def literal_error(model, x, y, inverse_temperature):
    """The whole network, all samples at once."""
    with no_record():
        logits = model.eval()(Tensor(x)).data
    if not inverse_temperature:
        return int((logits.argmax(axis=1) != y).sum())
    losses = [float(kernels.softmax_cross_entropy(row[None] * np.float32(inverse_temperature), y[k:k + 1])[0])
              for k, row in enumerate(logits)]
    return sum(losses) / LOSS_UNIT


@pytest.mark.parametrize("error, inverse_temperature, text", [
    ("rate", 0.0, "*=ternary"), ("cross-entropy", 1.0, "*=ternary"), ("cross-entropy", 2.0, "*=ternary"),
    ("rate", 0.0, "left=shift1,norm=binary,fc=-1,0,2,*=ternary")])
def test_it_is_algorithm_2_visit_for_visit(error, inverse_temperature, text, monkeypatch):
    monkeypatch.setattr(network_search, "CHUNK", 16)                     # 40 samples: two chunks and a part
    data = pictures()
    method, model = begun(data, error=error, inverse_temperature=inverse_temperature or 1.0, levels=parse(text))
    x, y = data.batch(np.arange(len(data)))
    search = method.search
    picks = SEED.key("picks").integers(0, len(search.codes), 60)
    best = literal_error(model, x, y, inverse_temperature)
    slack = len(y) + 1 if inverse_temperature else 0                               # losses are rounded, once each
    for pick in picks.tolist():
        t = int(np.searchsorted(search.starts, pick, side="right")) - 1
        p, k = search.parameters[t][1], pick - search.starts[t]
        before, errors, values = search.codes[pick], [], p.parametrization.level_set.values.astype(np.float32)
        for value in values:
            p.data.reshape(-1)[k] = p.parametrization.scale * value
            errors.append(literal_error(model, x, y, inverse_temperature))
        p.data.reshape(-1)[k] = p.parametrization.scale * values[before]
        kept = max(code for code in range(len(values)) if errors[code] <= min(*errors) + 1e-9)
        _, (error_now,), (moved,), (tried,) = search.visit(np.array([pick]))
        assert errors[search.codes[pick]] <= min(errors) + slack
        np.testing.assert_allclose(tried[:len(values)], errors, atol=slack)
        assert (tried[len(values):] == NOT_TRIED).all()
        if not inverse_temperature:
            assert search.codes[pick] == kept
        assert abs(error_now - errors[search.codes[pick]]) <= slack and moved == (search.codes[pick] != before)
        assert p.data.reshape(-1)[k] == p.parametrization.scale * values[search.codes[pick]]
        best = error_now
    assert abs(best - literal_error(model, x, y, inverse_temperature)) <= slack


def test_what_is_kept_is_what_a_whole_run_gives():
    method, _ = begun(pictures())
    method.step([Share(40)])
    kept, outputs = method.search.logits.copy(), [a.copy() for a in method.search.outputs[0]]
    method.search._run_all()
    np.testing.assert_array_equal(method.search.logits, kept)
    for ours, theirs in zip(outputs, method.search.outputs[0], strict=True):
        np.testing.assert_array_equal(ours, theirs)


class Share:
    def __init__(self, n):
        self.y = np.zeros(n)


def test_a_resume_within_a_pass_goes_on_to_the_bit():
    whole, first = begun(pictures(), visits=20)[0], begun(pictures(), visits=20)[0]
    for _ in range(3):
        whole.step([Share(5)])
    first.step([Share(5)])
    resumed, _ = begun(pictures(), state=first.state(), visits=20)
    resumed.step([Share(5)])
    resumed.step([Share(5)])
    assert resumed.counts == whole.counts and whole.counts["visits"] == whole.counts["made"] == 60
    np.testing.assert_array_equal(resumed.search.codes, whole.search.codes)


def test_visits_end_with_the_pass():
    method, _ = begun(pictures(), visits=100)
    total = len(method.search.codes)
    for _ in range(total // 100 + 3):
        method.step([Share(40)])
    assert method.counts["visits"] == total
    assert method.end_epoch()["visits"] == total and method.counts["made"] == 0


def test_all_three_methods_of_a_residual_network_end_on_levels():
    data = ImageArray(np.zeros((6, 1, 8, 8), np.uint8) + np.arange(64, dtype=np.uint8).reshape(8, 8),
                      np.arange(6) % 3, (0.5,), (0.25,))
    method, model = begun(data, models.build("resnet20", 3, (1, 8, 8), "all").initialise(SEED), visits=5)
    assert "does not take what the layer before it put out" in method.notice
    method.step([Share(6)])
    assert all((p.data == p.parametrization.effective(p.data)).all() for p in model.parameters())


def test_what_would_not_fit_into_memory_is_refused_with_the_remedy(monkeypatch):
    monkeypatch.setattr(network_search.os, "sysconf", lambda name: 100)
    with pytest.raises(UsageError, match="subset must be smaller"):
        begun(pictures())


def test_weights_that_are_not_finite_are_refused():
    model = nn.constrain(Branches().initialise(SEED), "all")
    model.fc.bias.data[0] = np.inf
    with pytest.raises(BadInput, match="fc.bias: .* not all finite"):
        begun(pictures(), model)
