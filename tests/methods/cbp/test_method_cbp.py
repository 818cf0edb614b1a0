"""CBP: scale, multipliers, schedule, the order of a step, what is refused, and a small problem from end to end."""
import math
from typing import NamedTuple

import numpy as np
import pytest

from tinyq import data, nn
from tinyq.autodiff import Tensor
from tinyq.errors import BadInput, Diverged, UsageError
from tinyq.levels import NAMED, parse
from tinyq.methods import CBP, Backprop
from tinyq.optim import SGD, Adam, groups_by_decay
from tinyq.schedules import Cosine
from tinyq.streams import Streams


class Batch(NamedTuple):
    x: np.ndarray
    y: np.ndarray


def batch(i=0, n=16, dtype=np.float32):
    stream = Streams(3).key("batch", i)
    y = stream.integers(0, 3, n)
    return Batch((stream.normal((n, 5)) + y[:, None]).astype(dtype), y)


def network(*sizes, dtype=np.float32, which="inner"):
    sizes = sizes or (5, 8, 8, 3)
    layers = [layer for a, b in zip(sizes, sizes[1:], strict=False) for layer in (nn.Linear(a, b), nn.ReLU())]
    model = nn.constrain(nn.Sequential(*layers[:-1]), which)
    return model.initialise(Streams(0)).astype(dtype)


def begun(model=None, lr=0.01, weight_decay=0.0, momentum=0.0, **settings):
    model = model or network()
    optimizer = SGD(groups_by_decay(model.parameters(), weight_decay), lr=lr, momentum=momentum)
    method = CBP(**settings)
    method.begin(model, optimizer, None, Streams(0))
    return method, model, optimizer


def only(method):
    (layer,) = method.weights
    return layer


# ---- scale and multipliers ----

def test_the_defaults_are_the_published_ones():
    method = CBP()
    assert (method.lambda_lr, method.period, method.g_max, method.stop) == (1e-4, 20, None, 0.0)
    assert begun()[0].ascent.groups[0]["betas"] == (0.9, 0.999)
    assert begun()[0].ascent.groups[0]["eps"] == 1e-8


def test_the_scale_is_the_mean_magnitude_of_the_pretrained_weight_and_stays():
    method, model, _ = begun(lr=0.5)
    w = dict(model.named_parameters())[only(method).name].data
    exact = math.fsum(abs(float(v)) for v in w.reshape(-1)) / w.size
    scale = only(method).scale
    assert scale.dtype == np.float32 and scale.shape == () and scale == pytest.approx(exact, rel=1e-7)
    for i in range(3):
        method.step([batch(i)])
        method.end_epoch()
    assert only(method).scale is scale


def test_the_first_step_of_the_multipliers_by_hand():
    """Adam's first step is lr * cs / (cs + eps): m = 0.1 cs and v = 0.001 cs**2 before their corrections."""
    model = network(dtype=np.float64)
    w = model.constrained_parameters()[0][1]
    w.data[...] = 0
    w.data[0, :4] = [0.5, -0.25, 0.125, 1.125]                  # mean magnitude over 64 weights: 2 / 64
    method, *_ = begun(model, lambda_lr=1e-2)
    a = 2 / 64
    assert only(method).scale == a
    cs = 2 * (np.abs([0.5, -0.25, 0.125, 1.125]) - a)           # all four lie outside of [-a, a]
    expected = np.zeros((8, 8))
    expected[0, :4] = 1e-2 * cs / (cs + 1e-8)
    np.testing.assert_allclose(only(method).multiplier.data, expected, rtol=1e-14)


def test_the_second_step_of_the_multipliers_by_hand():
    model = network(dtype=np.float64)
    w = model.constrained_parameters()[0][1]
    w.data[...] = 0
    w.data[0, :4] = [0.5, -0.5, 0.5, -0.5]
    method, *_ = begun(model, lambda_lr=1e-2, period=1)
    a = 2 / 64
    first = only(method).multiplier.data.copy()
    # The weights have moved by the time the schedule fires: at g = 2 the tent over [0, a) is cut from a/4 to 3a/4.
    moved = np.array([a / 8, a / 4, a / 2, 1.5 * a])
    w.data[0, :4] = moved
    method.end_epoch()
    cs1, cs2 = 2 * (0.5 - a), np.array([a / 4, a / 2, 0, a])
    m = 0.9 * (0.1 * cs1) + 0.1 * cs2
    v = 0.999 * (0.001 * cs1**2) + 0.001 * cs2**2
    step = 1e-2 * (m / (1 - 0.9**2)) / (np.sqrt(v / (1 - 0.999**2)) + 1e-8)
    np.testing.assert_allclose(only(method).multiplier.data[0, :4], first[0, :4] + step, rtol=1e-13)
    assert (only(method).multiplier.data[1:] == 0).all()


def test_multipliers_move_only_when_the_schedule_fires_and_never_fall():
    method, *_ = begun(lr=0.1, lambda_lr=0.05, period=3)
    for epoch in range(12):
        before = only(method).multiplier.data.copy()
        for i in range(3):
            method.step([batch(i)])
            assert only(method).multiplier.data.tobytes() == before.tobytes()
        fired = method.end_epoch()["fired"]
        after = only(method).multiplier.data
        assert (after >= before).all() and (after > before).any() == fired, epoch


def test_nothing_else_can_write_to_the_multipliers():
    method, *_ = begun()
    with pytest.raises(ValueError, match="read-only"):
        only(method).multiplier.data += 1


# ---- the schedule ----

def run_schedule(method, lagrangians):
    """The window parameter after each epoch, and whether the schedule fired."""
    seen = []
    for value in lagrangians:
        method.sums.objective = value
        fired = method.end_epoch()["fired"]
        seen.append((method.g, fired))
    return seen


def test_it_fires_when_the_lagrangian_does_not_fall():
    method, *_ = begun()
    seen = run_schedule(method, [5, 4, 4, 9, 8, 8.5, 8.5, 8.5])
    assert seen == [(1, False), (1, False), (2, True), (2, False), (2, False), (3, True), (3, False), (4, True)]


def test_it_fires_after_period_epochs_at_the_latest():
    method, *_ = begun(period=4)
    assert [fired for _, fired in run_schedule(method, range(100, 88, -1))] == [False, False, False, True] * 3


def test_the_published_period_is_20():
    method, *_ = begun()
    assert [fired for _, fired in run_schedule(method, range(100, 79, -1))].index(True) == 19


def test_g_goes_1_to_10_then_by_tens_and_the_rate_drops_once_at_20():
    method, _, optimizer = begun(period=1, lr=0.5)
    rates, gs = [], []
    for _ in range(14):
        gs.append(method.end_epoch()["g"])
        rates.append(optimizer.groups[0]["lr"])
    assert gs == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30, 40, 50]
    assert rates == [0.5] * 9 + [0.05] * 5
    assert all(group["lr"] == 0.05 for group in optimizer.groups)


BOUNDS = [(1, 1, False), (7, 7, False), (15, 15, False), (20, 20, True), (25, 25, True)]


@pytest.mark.parametrize("g_max, last, dropped", BOUNDS)
def test_g_max_bounds_the_window_and_the_rate_still_drops_once(g_max, last, dropped):
    method, _, optimizer = begun(period=1, lr=1.0, g_max=g_max)
    for _ in range(16):
        before = only(method).multiplier.data.copy()
        method.end_epoch()
    assert method.g == last
    assert optimizer.groups[0]["lr"] == (0.1 if dropped else 1.0)
    assert (only(method).multiplier.data > before).any()        # the multipliers go on rising


# ---- the order of a step ----

def test_the_gradient_is_clipped_before_weight_decay_and_the_weights_are_clamped_after():
    model = network(dtype=np.float64)
    for p in model.parameters():
        p.data[...] = np.where(p.data < 0, p.data - 0.6, p.data + 0.6)
    model.parameters()[-2].data *= 100                          # makes large gradients before it, those of biases too
    method, model, _ = begun(model, lr=0.5, weight_decay=0.1, levels=parse("-0.5,0.5"))
    big = Batch(batch(dtype=np.float64).x * 10, batch().y)
    before = model.state_dict()
    nn.cross_entropy(model(Tensor(big.x)), big.y).backward()
    raw = {name: p.grad.copy() for name, p in model.named_parameters()}
    layer = only(method)
    raw[layer.name] += layer.multiplier.data * layer.sawtooth(layer.parameter.data)[1]
    method.step([big])
    for name, p in model.named_parameters():
        w, bound = before[name], 1.0 if p.constrained else np.inf
        g = np.clip(raw[name], -1, 1) + (0.1 * w if w.ndim > 1 else 0)
        np.testing.assert_allclose(p.data, np.clip(w - 0.5 * g, -bound, bound), rtol=1e-12, err_msg=name)
        assert np.abs(raw[name]).max() > 1 or name == "4.bias", name        # every other one was clipped
    assert np.abs(layer.parameter.data).max() == 1              # and some of these clamped


def test_the_force_of_the_constraint_is_lambda_times_the_slope():
    method, model, _ = begun(network(dtype=np.float64), lambda_lr=0.05, period=1)
    for _ in range(3):
        method.end_epoch()
    layer = only(method)
    x, y = batch(dtype=np.float64)
    loss = nn.cross_entropy(model(Tensor(x)), y)
    loss.backward()
    g = layer.parameter.grad.copy()
    cs, slope = layer.sawtooth(layer.parameter.data)
    objective = method.step([Batch(x, y)])
    assert objective == pytest.approx(loss.item() + (layer.multiplier.data * cs).sum(), rel=1e-14)
    np.testing.assert_allclose(layer.parameter.grad, np.clip(g + layer.multiplier.data * slope, -1, 1), atol=1e-15)
    assert (layer.multiplier.data * slope != 0).any()


def test_the_latent_gets_the_gradient_with_respect_to_the_shown_weight():
    """Central differences of the loss in scale * level, a network of plain weights: not multiplied by the scale."""
    method, model, _ = begun(network(dtype=np.float64))
    x, y = batch(dtype=np.float64)
    nn.cross_entropy(model(Tensor(x)), y).backward()
    layer = only(method)
    plain = network(dtype=np.float64)
    plain.load_state_dict({**model.state_dict(), layer.name: layer.quantizer.effective(layer.parameter.data)})
    w = dict(plain.named_parameters())[layer.name].data
    for index in [(0, 0), (2, 5), (7, 7), (3, 1)]:
        at, losses = w[index], []
        for value in (at + 1e-6, at - 1e-6):
            w[index] = value
            losses.append(nn.cross_entropy(plain(Tensor(x)), y).item())
        w[index] = at
        difference = (losses[0] - losses[1]) / 2e-6
        assert layer.parameter.grad[index] == pytest.approx(difference, rel=1e-6, abs=1e-9)
    assert abs(float(layer.scale) - 1) > 0.5                # else the test could not tell


def test_a_weight_the_loss_does_not_reach_still_feels_its_constraint():
    class Idle(nn.Module):
        def __init__(self):
            self.used, self.idle, self.last = nn.Linear(5, 3), nn.Linear(4, 4), nn.Linear(3, 3)

        def forward(self, x):
            return self.last(self.used(x))

    method, model, _ = begun(nn.constrain(Idle()).initialise(Streams(0)), lr=0.1, lambda_lr=0.5)
    before = model.idle.weight.data.copy()
    method.step([batch()])
    assert (model.idle.weight.data != before).any()


# ---- what is refused, and what stops a run ----

@pytest.mark.parametrize("sizes", [(5, 3), (5, 8, 3)])
def test_a_network_with_nothing_to_constrain_is_refused_with_the_way_out(sizes):
    with pytest.raises(UsageError, match='cbp: .*no weight to constrain.*constrain "all"') as caught:
        begun(network(*sizes))
    assert caught.value.exit_code == 2
    begun(network(*sizes, which="all"))


def test_levels_beyond_the_clamp_are_refused_with_the_reason():
    model = network()
    name, w = model.constrained_parameters()[0]
    w.data[...] = 0.75
    with pytest.raises(UsageError, match=rf"multiplied by 0.75, the scale of {name}, they reach 1.5, but CBP clamps"):
        begun(model, levels=parse("-2,-1,0,1,2"))
    begun(model, levels=parse("-1.25,0,1.25"))


def test_resuming_does_not_look_at_the_scale_of_the_moment():
    """The scale is that of the pretrained weights; the latents may have grown since."""
    method, model, optimizer = begun(levels=parse("-2,0,2"))
    state = method.state()
    only(method).parameter.data[...] = 0.9
    again = CBP(levels=parse("-2,0,2"))
    again.begin(model, optimizer, None, Streams(0), state=state)
    assert only(again).scale == only(method).scale


def test_levels_that_rounding_makes_one_are_refused():
    model = network()
    model.constrained_parameters()[0][1].data[...] = 0.66
    with pytest.raises(UsageError, match="levels further apart"):
        begun(model, levels=parse("0.1,0.10000000894"))


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_weights_without_a_scale_are_refused(value):
    model = network()
    model.constrained_parameters()[0][1].data[...] = value
    with pytest.raises(BadInput, match="pretrained weights"):
        begun(model)


@pytest.mark.parametrize("setting, value, message", [
    ("lambda_lr", 0.0, "lambda_lr must be above 0, got 0.0"), ("period", 0, "period must be at least 1, got 0"),
    ("g_max", 0, "g_max must be at least 1, got 0"), ("stop", -1.0, "stop must be at least 0, got -1.0"),
])
def test_settings_that_mean_nothing_are_refused_by_their_name(setting, value, message):
    with pytest.raises(UsageError, match=message):
        CBP(**{setting: value})


def test_a_nan_weight_stops_the_run_by_name_though_its_level_is_finite():
    method, model, _ = begun()
    layer = only(method)
    layer.parameter.data[2, 3] = np.nan
    before = model.state_dict()
    with pytest.raises(Diverged, match=f"the constraint term of {layer.name} is nan"):
        method.step([batch()])
    assert all(np.array_equal(before[k], v, equal_nan=True) for k, v in model.state_dict().items())
    with pytest.raises(Diverged, match=layer.name):
        method.finish()


# ---- from end to end ----

def test_the_failure_score_by_hand():
    model = network(5, 4, 4, 4, 3, dtype=np.float64)
    first, second = (p for _, p in model.constrained_parameters())
    first.data[...] = 0.5
    second.data[...] = -0.25
    method, *_ = begun(model)
    assert method.constraint_failure() == (0, 0)
    first.data[0, :2] = [0.625, 0.375]                           # 1/8 from the level 1/2
    second.data[0, 0] = -0.125                                   # on the midpoint: 1/8 from either level
    assert method.constraint_failure() == (3 * 0.25 / 32, (2 * 0.25 / 0.5 + 0.25 / 0.25) / 32)


@pytest.mark.parametrize("name", NAMED)
def test_a_small_problem_reaches_its_levels_and_keeps_its_accuracy(name):
    model, batches = network(5, 16, 16, 3), [batch(i, 32) for i in range(10)]
    pretraining = SGD(model.parameters(), lr=0.1, momentum=0.9)
    backprop = Backprop()
    backprop.begin(model, pretraining, None, Streams(0))
    for i in range(200):
        backprop.step([batches[i % 10]])
    plain = accuracy(model, batches)

    method, _, optimizer = begun(model, lr=0.02, momentum=0.9, weight_decay=1e-4, levels=NAMED[name], lambda_lr=0.03,
                                 period=1)
    schedule, trace = Cosine(40), []
    for epoch in range(40):
        schedule.apply(optimizer, epoch)
        for one in batches:
            method.step([one])
        trace.append(method.end_epoch())
    assert trace[-1]["cfs_over_scale"] < 0.02 < 0.5 < trace[0]["cfs_over_scale"]
    assert not method.done
    method.finish()
    assert method.constraint_failure()[0] == 0
    assert accuracy(model, batches) >= plain - 0.03 >= 0.8


def accuracy(model, batches):
    correct = sum((model(Tensor(one.x)).data.argmax(axis=1) == one.y).sum() for one in batches)
    return correct / sum(len(one.y) for one in batches)


def test_iris_to_ternary_in_every_layer():
    train = data.load("iris").train
    whole = Batch(*train.batch(np.arange(len(train)))[:2])
    batches = [Batch(whole.x[i::7], whole.y[i::7]) for i in range(7)]
    model = network(4, 8, 16, 3, which="all")
    backprop = Backprop()
    backprop.begin(model, Adam(model.parameters(), lr=0.01), None, Streams(0))
    for i in range(400):
        backprop.step([batches[i % 7]])
    assert accuracy(model, [whole]) > 0.95

    method, _, optimizer = begun(model, lr=0.02, momentum=0.9, lambda_lr=0.03, period=1)
    for epoch in range(80):
        Cosine(80).apply(optimizer, epoch)
        for one in batches:
            method.step([one])
        record = method.end_epoch()
    assert record["cfs_over_scale"] < 0.02
    method.finish()
    assert accuracy(model, [whole]) >= 0.93


def test_it_is_done_once_the_failure_score_is_below_stop():
    method, model, _ = begun(stop=0.02)
    assert not method.done
    layer = only(method)
    layer.parameter.data[...] = layer.quantizer.effective(layer.parameter.data)
    assert not method.done
    method.end_epoch()
    assert method.done
