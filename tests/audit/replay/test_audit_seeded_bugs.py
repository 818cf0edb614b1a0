"""Bugs planted in vjps, optimisers and methods: each is caught by a check of one of the first steps, and named."""
import re
from types import SimpleNamespace

import numpy as np
import pytest

from tinyq import kernels, nn, optim
from tinyq.audit.capture.capture import Capture
from tinyq.audit.step import vjp_slopes
from tinyq.audit.step.check_result import as_lines
from tinyq.audit.step.step_check import check
from tinyq.autodiff import PRIMITIVES, tape
from tinyq.data import Batch, Table
from tinyq.errors import TinyqError
from tinyq.methods import CBP, RPR, Backprop, CoNNTrA
from tinyq.methods.cbp import cbp_method as cbp_module
from tinyq.methods.cbp import constrained_weight
from tinyq.methods.conntra import chain_search
from tinyq.methods.rpr import partition, relaxed_weight
from tinyq.run.checkpoint import Position
from tinyq.streams import Streams

STREAMS = Streams(7)
CLASSES = 4


class Net(nn.Module):
    """Two convolutions, batch norm with and without ReLU, pooling, two linear layers, and a broadcast sum."""

    def __init__(self):
        self.conv1, self.bn1, self.pool = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.MaxPool2d(2)
        self.conv2, self.bn2, self.relu = nn.Conv2d(3, 4, 2, stride=2), nn.BatchNorm2d(4), nn.ReLU()
        self.flatten, self.fc1, self.fc2 = nn.Flatten(), nn.Linear(4, 6), nn.Linear(6, CLASSES)
        self.shift = nn.Parameter(np.zeros(6, np.float32) + np.float32(0.3))

    def forward(self, x):
        x = self.pool(self.bn1(self.conv1(x), relu=True))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.fc2(self.relu(self.fc1(self.flatten(x)) + self.shift))


def batch(step, n=12):
    stream = STREAMS.key("batch", step)
    y = stream.integers(0, CLASSES, n)
    x = stream.normal((n, 1, 7, 7)) + y[:, None, None, None] * 0.5
    return Batch(x.astype(np.float32), y, np.arange(n))


def mlp_table(n=40):
    stream = STREAMS.key("table")
    y = stream.integers(0, 2, n)
    return Table((stream.integers(0, 200, (n, 6)) + 40 * (np.arange(6) % 2 == y[:, None])).astype(np.float32), y)


METHODS = {"backprop": Backprop, "cbp": lambda: CBP(lambda_lr=0.05, period=1), "rpr": lambda: RPR(epochs=5)}
OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(optim.groups_by_decay(p, 0.01), lr=0.05, momentum=0.9),
    "plain": lambda p: optim.SGD(p, lr=0.05),
    "nesterov": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "adam": lambda p: optim.Adam(p, lr=0.01, weight_decay=0.01), "adamw": lambda p: optim.AdamW(p, lr=0.01)}


def faults_of(method, optimizer, plant, patch):
    """What the checks of the first steps find, until one finds something: some bugs need a momentum to show."""
    for steps in (1, 2, 3):
        with patch.context() as planted:
            try:
                found = checked_step(method, optimizer, plant, planted, steps).faults
            except TinyqError as error:                                 # some the method itself refuses to go on with
                found = [str(error)]
        if found:
            return found
    return []


def checked_step(method="backprop", optimizer="sgd", plant=lambda patch: None, patch=None, steps=2):
    """What the check of step `steps` finds, the bug planted before the method begins."""
    if method == "conntra":
        return checked_sweep(plant, patch, steps)
    model = nn.constrain(Net().initialise(STREAMS), "inner")
    optimizer, method = OPTIMIZERS[optimizer](model.parameters()), METHODS[method]()
    plant(patch)
    method.begin(model.train(), optimizer, Table(*batch(0)[:2]), STREAMS)
    if isinstance(method, CBP):
        method.step([batch(0)])
        method.end_epoch()                                              # multipliers above 0, a window of 1/2
    return last_captured(method, model, optimizer, batch, steps)


def checked_sweep(plant, patch, steps):
    data = mlp_table()
    model = nn.constrain(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2)), "all").initialise(STREAMS)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    plant(patch)
    method = CoNNTrA()
    method.begin(model, optimizer, data, STREAMS)
    share = Batch(data.features[:12], data.labels[:12], np.arange(12))
    return last_captured(method, model, optimizer, lambda step: share, steps)


def last_captured(method, model, optimizer, batch_of, steps):
    phase = SimpleNamespace(name="phase", method=method, optimizer=optimizer, first_epoch=0)
    for step in range(1, steps + 1):
        capture, position = Capture(model, optimizer), Position(steps=step - 1)
        with tape.traced(capture.note), tape.traced_vjps(capture.note_vjp):
            method.step([batch_of(step)])
    return check(capture.finished(phase, position, [batch_of(steps)]), STREAMS)


@pytest.mark.parametrize("method, optimizer", [*((m, "sgd") for m in METHODS), *(("backprop", o) for o in OPTIMIZERS),
                                               ("rpr", "adam"), ("cbp", "adamw"), ("conntra", "")])
def test_a_right_step_has_no_fault(method, optimizer):
    for steps in (1, 3):
        assert checked_step(method, optimizer, steps=steps).faults == []


class Branched(nn.Module):
    """A residual connection into batch norm with ReLU, and an auxiliary head."""

    def __init__(self):
        self.conv1, self.conv2 = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.bn, self.pool, self.flatten = nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.head, self.aside = nn.Linear(3, CLASSES), nn.Linear(3, CLASSES)

    def training_outputs(self, x):
        first = self.conv1(x)
        y = self.bn(self.conv2(first), first, relu=True)
        head, aside = (layer(self.flatten(self.pool(y))) for layer in (self.head, self.aside))
        return head, [(0.3, aside)]


def test_a_right_step_with_branches_and_an_auxiliary_head_has_no_fault():
    model = Branched().initialise(STREAMS)
    optimizer, method = OPTIMIZERS["sgd"](model.parameters()), Backprop()
    method.begin(model.train(), optimizer, None, STREAMS)
    found = last_captured(method, model, optimizer, batch, 2)
    assert found.faults == [] and found.counts["gradients of the loss against differences"] == len(model.parameters())


def test_a_right_sweep_of_a_network_that_is_no_chain_has_no_fault():
    model = nn.constrain(Net(), "all").initialise(STREAMS)
    method, optimizer = CoNNTrA(visits=4), optim.SGD(model.parameters(), lr=0.1)
    method.begin(model, optimizer, Table(*batch(0)[:2]), STREAMS)
    assert last_captured(method, model, optimizer, batch, 2).faults == []


def test_a_kink_is_told_apart_from_a_wrong_gradient():
    model = nn.Sequential(nn.Flatten(), nn.Linear(49, 3), nn.ReLU(), nn.Linear(3, CLASSES)).initialise(STREAMS)
    for p in list(model.parameters())[:2]:
        p.data[...] = 0                                                 # every ReLU at 0
    optimizer, method = optim.SGD(model.parameters(), lr=1e-30), Backprop()
    method.begin(model.train(), optimizer, None, STREAMS)
    positive = Batch(np.abs(batch(1).x), *batch(1)[1:])
    found = last_captured(method, model, optimizer, lambda step: positive, 1)
    assert found.faults == [] and "the loss along" in " ".join(found.kinks)
    assert "  kinks, where the loss is not differentiable: " in "\n".join(as_lines(found))


def test_a_kink_of_a_primitive_is_noted(monkeypatch):
    monkeypatch.setattr(vjp_slopes, "of_primitive", lambda application, seed: [(1, SimpleNamespace(verdict="kink"))])
    found = checked_step()
    assert found.faults == [] and "conv2d of conv2.weight, input 1" in found.kinks


# ---- vjps ----

CHANGES = {
    "sign": lambda vjp, g: -vjp(g),
    "twice": lambda vjp, g: 2 * vjp(g),
    "zero": lambda vjp, g: 0 * vjp(g),
    "incoming gradient ignored": lambda vjp, g: vjp(np.ones_like(g)),
    "permuted": lambda vjp, g: np.ascontiguousarray(vjp(g)[..., ::-1]),
    "one entry lost": lambda vjp, g: _without_largest(vjp(g)),
}
# primitive, input -> method that uses it. One number has no order to be wrong in, and labels have no gradient.
VJPS = {("conv2d", 0): "backprop", ("conv2d", 1): "backprop", ("conv2d", 3): "backprop", ("linear", 0): "backprop",
         ("linear", 1): "backprop", ("linear", 3): "backprop", ("batch_norm_relu", 0): "backprop",
         ("batch_norm_relu", 1): "backprop", ("batch_norm_relu", 2): "backprop", ("batch_norm", 0): "backprop",
         ("batch_norm", 1): "backprop", ("relu", 0): "backprop", ("max_pool2d", 0): "backprop",
         ("flatten", 0): "backprop", ("softmax_cross_entropy", 0): "backprop", ("add", 0): "backprop",
         ("add", 1): "backprop", ("straight_through", 0): "cbp", ("part_frozen", 0): "rpr"}


def _without_largest(gradient):
    changed = np.array(gradient)
    changed.reshape(-1)[np.abs(changed).argmax()] = 0
    return changed


def vjp_changed(name, position, change):
    def plant(patch):
        rule = PRIMITIVES[name].forward

        def wrong(*arrays, **params):
            y, vjps, *more = rule(*arrays, **params)
            vjps = [vjp if i != position or vjp is None else (lambda g, vjp=vjp: change(vjp, g))
                     for i, vjp in enumerate(vjps)]
            return y, tuple(vjps), *more
        patch.setattr(PRIMITIVES[name], "forward", wrong)
    return plant


VJP_BUGS = [(name, position, change) for name, position in VJPS for change in CHANGES
             # the only gradient of a scalar loss is 1; a bias before batch norm has the gradient 0
             if not (name == "softmax_cross_entropy" and change == "incoming gradient ignored")
             and not (name, position) == ("conv2d", 3)
             and not (name == "flatten" and change == "permuted")]      # its last axis is of one element
# The default run has one change of each vjp, another one for each; the slow run all of them.
QUICK = [bug for i, bug in enumerate(VJP_BUGS) if i % 7 == 0 or bug[0] in ("straight_through", "part_frozen")]


@pytest.mark.parametrize("name, position, change", QUICK, ids=lambda v: str(v).replace(" ", "-"))
def test_a_wrong_vjp_is_caught(name, position, change, monkeypatch):
    assert_named(name, position, change, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name, position, change", VJP_BUGS, ids=lambda v: str(v).replace(" ", "-"))
def test_a_wrong_vjp_is_caught_and_named(name, position, change, monkeypatch):
    assert_named(name, position, change, monkeypatch)


def assert_named(name, position, change, patch):
    found = faults_of(VJPS[name, position], "sgd", vjp_changed(name, position, CHANGES[change]), patch)
    assert any(f"the vjp of {name}" in fault and f"input {position}" in fault for fault in found), found


# ---- kernels, optimisers, methods ----

def kernel(name, change):
    """A float32 kernel whose result is changed; its float64 twin stays right."""
    def plant(patch):
        right = getattr(kernels, name)
        patch.setattr(kernels, name, lambda *a, **k: change(right(*a, **k)) if a[0].dtype == np.float32
                      else right(*a, **k))
    return plant


def method_of(owner, name, wrong):
    def plant(patch):
        right = getattr(owner, name)
        patch.setattr(owner, name, lambda *a, **k: wrong(right, *a, **k))
    return plant


def group_with(**changes):
    def wrong(right, self, w, g, memory, group):
        right(self, w, g, memory, {**group, **{k: change(group[k]) for k, change in changes.items()}})
    return wrong


def sgd_with(wrong=None, **changes):
    return method_of(optim.SGD, "_update", wrong or group_with(**changes))


def adam_with(wrong=None, **changes):
    return method_of(optim.Adam, "_update", wrong or group_with(**changes))


def _decay_in_the_moments(right, self, w, g, memory, group):
    optim.Adam._update(self, w, g + np.float32(group["weight_decay"]) * w, memory, {**group, "weight_decay": 0.0})


def replaced(owner, name, wrong):
    """A function whose calls go to wrong(right, *arguments)."""
    right = getattr(owner, name)
    return lambda patch: patch.setattr(owner, name, lambda *a: wrong(right, *a))


def _upper_level(right, w, thresholds, levels):
    if w.dtype != np.float32:
        return right(w, thresholds, levels)
    return levels.astype(w.dtype)[(w[..., None] >= thresholds.reshape(*[1] * w.ndim, -1)).sum(-1)]


def _one_bit(y):
    y = np.array(y)
    y.reshape(-1).view(np.uint32)[y.size // 2] ^= np.uint32(1 << 27)
    return y


def _forget_memory(right, self, w, g, memory, group):
    right(self, w, g, {}, group)


def _update_twice(right, self, w, g, memory, group):
    right(self, w, g, memory, group)
    right(self, w, g, memory, group)


def _powers_stay(right, self, w, g, memory, group):
    before = {k: memory[k] for k in ("beta1_power", "beta2_power") if k in memory}
    right(self, w, g, memory, group)
    memory.update(before)


def _no_force(right, self):
    kept = self.parameter.grad.copy()
    term = right(self)
    self.parameter.grad[...] = kept
    return term


def _force(change):
    def wrong(right, self):
        kept = self.parameter.grad.copy()
        term = right(self)
        self.parameter.grad[...] = change(kept, self.parameter.grad - kept, self)
        return term
    return wrong


def _bare_slope(g, force, weight):
    return g + weight.sawtooth(weight.parameter.data)[1]


def _half(right, self, w):
    return right(self, w) * w.dtype.type(0.5)


def _slow_track(right, self, mean, variance):
    kept, self.momentum = self.momentum, 1 - self.momentum
    right(self, mean, variance)
    self.momentum = kept


def _moves_frozen(right, self, batches):
    step = right(self, batches)
    for layer in self.weights:
        layer.parameter.data[...] += np.where(layer.relaxed, np.float32(0), np.float32(0.01))
    return step


def _moves_frozen_moments(right, self, batches):
    step = right(self, batches)
    for layer in self.weights:
        for array in self.optimizer.memory_of(layer.parameter).values():
            array += np.where(layer.relaxed, np.float32(0), np.float32(0.01))
    return step


def _all_move(right, self, grads=None, where=None):
    return right(self, grads, None)


def _one_more_frozen(right, stream, shape, fraction):
    found = right(stream, shape, fraction)
    found.reshape(-1)[np.flatnonzero(found)[0]] = False
    return found


def _never_a_tie(right, picks, held):
    """Keeps the first of equally good levels instead of the last."""
    codes, errors, moved, tried = right(picks, held)
    for k in range(len(picks)):
        if moved[k] and (k == 0 or errors[k] == errors[k - 1]):
            codes[k], moved[k] = (codes[k] + 1) % len(held.levels), True
    return codes, errors, moved, tried


def _worse(right, picks, held):
    codes, errors, moved, tried = right(picks, held)
    errors[-1] += 1
    return codes, errors, moved, tried


def _candidate_misjudged(right, picks, held):
    """The error of a level that was not chosen is noted too high."""
    codes, errors, moved, tried = right(picks, held)
    tried[-1, (codes[-1] + 1) % len(held.levels)] += 1
    return codes, errors, moved, tried


def _candidate_better(right, picks, held):
    """A level that was not chosen had a smaller error."""
    codes, errors, moved, tried = right(picks, held)
    tried[0, (codes[0] + 1) % len(held.levels)] = errors[0] - 1
    return codes, errors, moved, tried


def _kept_error_stale(right, picks, held):
    found = right(picks, held)
    held.block_errors[0] += 1
    return found


def _moves_another(right, picks, held):
    found = right(picks, held)
    for p in range(12):
        held.codes[p] = (held.codes[p] + 1) % len(held.levels)
    return found


def _lost_move(right, stages, codes):
    right(stages, codes)
    stages[0].weight.data.reshape(-1)[0] *= np.float32(1.5)
    stages[0].weight.data.reshape(-1)[1] += np.float32(0.01)


def _noted_too_low(right, self, picks):
    visits = right(self, picks)
    visits.errors[0] = -1
    return visits


def _lowers_too(right, self):
    right(self)
    for layer in self.weights:
        layer.set_multiplier(layer.multiplier.data - 1)


def _moves_beyond(right, self):
    right(self)
    self.weights[0].parameter.data[...] = 1.5


SGD, ADAM = ("backprop", "sgd"), ("backprop", "adam")
BUGS = {
    # what a kernel computes, though its twin is right
    "a bit flipped in a product": (*SGD, kernel("matmul", _one_bit), "linear"),
    "a bit flipped in a convolution": (*SGD, kernel("conv2d", _one_bit), "conv2d of conv"),
    "a bit flipped in a weight gradient": (*SGD, kernel("conv2d_weight_grad", _one_bit), "vjp of conv2d"),
    "a bit flipped in an input gradient": (*SGD, kernel("conv2d_input_grad", _one_bit), "vjp of conv2d"),
    "a bit flipped in a bias gradient": (*SGD, kernel("channel_sums", _one_bit), "the vjp of"),
    "a bit flipped in pooling": (*SGD, kernel("max_pool2d", lambda r: (_one_bit(r[0]), r[1])), "max_pool2d"),
    "a bit flipped in a ReLU": (*SGD, kernel("relu", _one_bit), "relu"),
    "a contribution lost in a sum": (*SGD, kernel("sum", lambda r: r * np.float32(0.9)), "add"),
    # optimisers
    "no weight decay": (*SGD, sgd_with(weight_decay=lambda d: 0.0), "update of"),
    "decay of the wrong sign": (*SGD, sgd_with(weight_decay=lambda d: -d), "update of"),
    "another learning rate": (*SGD, sgd_with(lr=lambda r: 2 * r), "update of"),
    "ascent": (*SGD, sgd_with(lr=lambda r: -r), "update of"),
    "another momentum": (*SGD, sgd_with(momentum=lambda m: 0.8), "update of"),
    "momentum forgotten": (*SGD, sgd_with(_forget_memory), "update of"),
    "momentum dampened": (*SGD, sgd_with(dampening=lambda d: 0.5), "update of"),
    "an update twice": (*SGD, sgd_with(_update_twice), "update of"),
    "Nesterov left out": ("backprop", "nesterov", sgd_with(nesterov=lambda n: False), "update of"),
    "Adam's betas swapped": (*ADAM, adam_with(betas=lambda b: b[::-1]), "update of"),
    "Adam's bias not corrected": (*ADAM, adam_with(_powers_stay), "update of"),
    "Adam without eps": (*ADAM, adam_with(eps=lambda e: 0.1), "update of"),
    "Adam's decay left out": (*ADAM, adam_with(weight_decay=lambda d: 0.0), "update of"),
    "AdamW's decay in the moments": ("backprop", "adamw", method_of(optim.AdamW, "_update", _decay_in_the_moments),
                                      "update of"),
    # batch norm
    "stale statistics": (*SGD, method_of(nn.BatchNorm2d, "_track", lambda right, *a: None), "running_mean"),
    "momentum the wrong way round": (*SGD, method_of(nn.BatchNorm2d, "_track", _slow_track), "running_mean"),
    "mean in place of variance": (
        *SGD, method_of(nn.BatchNorm2d, "_track", lambda right, self, m, v: right(self, m, m)),
        "running_var"),
    "biased variance": (
        *SGD, method_of(nn.BatchNorm2d, "_track", lambda right, self, m, v: right(self, m, v * np.float32(11 / 12))),
        "running_var"),
    # CBP
    "the lambda term dropped": (
        "cbp", "sgd", method_of(constrained_weight.ConstrainedWeight, "add_force", _no_force),
        "update of .*handed"),
    "the lambda term's sign": (
        "cbp", "sgd", method_of(constrained_weight.ConstrainedWeight, "add_force", _force(lambda g, f, layer: g - f)),
        "update of .*handed"),
    "the lambda term twice": (
        "cbp", "sgd", method_of(constrained_weight.ConstrainedWeight, "add_force",
                                _force(lambda g, f, layer: g + 2 * f)),
        "update of .*handed"),
    "the loss's gradient dropped": (
        "cbp", "sgd", method_of(constrained_weight.ConstrainedWeight, "add_force", _force(lambda g, f, layer: f)),
        "update of .*handed"),
    "the slope without lambda": (
        "cbp", "sgd", method_of(constrained_weight.ConstrainedWeight, "add_force", _force(_bare_slope)),
        "update of .*handed"),
    "the term left out of the objective": (
        "cbp", "sgd", method_of(constrained_weight.ConstrainedWeight, "add_force", lambda right, self: 0 * right(self)),
        "constraint term"),
    "the window of another g": (
        "cbp", "sgd", replaced(constrained_weight, "sawtooth", lambda right, levels, g: right(levels, g + 3)),
        "constraint function"),
    "no clip": ("cbp", "sgd", lambda p: p.setattr(cbp_module, "CLIP", 1e-3), "update of .*handed"),
    "the clamp's edge": ("cbp", "sgd", lambda p: p.setattr(cbp_module, "BOUND", 0.05), "update of .*after"),
    "ties to the upper level": ("cbp", "sgd", replaced(kernels, "nearest_level", _upper_level), "tie|nearest level"),
    "a level left out": ("cbp", "sgd", replaced(kernels, "nearest_level", lambda right, w, *_: np.sign(w)),
                         "nearest level"),
    "a negative multiplier": ("cbp", "sgd", method_of(CBP, "_raise_multipliers", _lowers_too), "is negative"),
    "a latent beyond its bound": ("cbp", "sgd", method_of(CBP, "_clamp", _moves_beyond), "a latent weight left"),
    # RPR
    "a frozen weight moves": ("rpr", "sgd", method_of(RPR, "update", _moves_frozen), "a frozen weight moved"),
    "a frozen moment moves": ("rpr", "sgd", method_of(RPR, "update", _moves_frozen_moments), "momentum of a frozen"),
    "a frozen moment of Adam moves": ("rpr", "adam", method_of(RPR, "update", _moves_frozen_moments), "of a frozen"),
    "only the gradient masked": ("rpr", "sgd", method_of(optim.SGD, "step", _all_move), "frozen"),
    "one frozen too many": ("rpr", "sgd", replaced(relaxed_weight, "relaxed_entries", _one_more_frozen),
                            "are frozen at"),
    "frozen entries not on a level": (
        "rpr", "sgd", method_of(partition.UnitQuantizer, "nearest", _half), "neither frozen on a level"),
    # CoNNTrA
    "an error that rises": ("conntra", "", replaced(kernels, "visit", _worse), "rose|Algorithm 2"),
    "an error noted too low": ("conntra", "", method_of(CoNNTrA, "_visit", _noted_too_low), "rose at a visit"),
    "a wrong tie": ("conntra", "", replaced(kernels, "visit", _never_a_tie), "Algorithm 2"),
    "a better candidate passed over": ("conntra", "", replaced(kernels, "visit", _candidate_better), "visit 0 chose"),
    "a candidate's error misjudged": ("conntra", "", replaced(kernels, "visit", _candidate_misjudged),
                                      "found its levels.* run as a whole"),
    "a stale error": ("conntra", "", replaced(kernels, "visit", _kept_error_stale), "run as a whole"),
    "other parameters moved": ("conntra", "", replaced(kernels, "visit", _moves_another), "changed in"),
    "a parameter off its levels": ("conntra", "", replaced(chain_search, "show", _lost_move), "off its levels"),
}


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_caught_and_named(name, monkeypatch):
    method, optimizer, plant, says = BUGS[name]
    found = faults_of(method, optimizer, plant, monkeypatch)
    assert any(re.search(says, fault) for fault in found), found


def test_there_are_at_least_sixty_of_them():
    assert len(QUICK) + len(BUGS) >= 60
