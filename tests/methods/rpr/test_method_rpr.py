"""RPR: what stays still, what moves and by which gradient, the schedule, what is refused, and a small problem."""
from typing import NamedTuple

import numpy as np
import pytest

from tinyq import nn
from tinyq.autodiff import Tensor
from tinyq.errors import BadInput, Diverged, UsageError
from tinyq.levels import NAMED, parse
from tinyq.methods import RPR, Backprop, LevelQuantizer
from tinyq.methods.rpr.partition import UnitQuantizer, frozen_count
from tinyq.optim import SGD, Adam, AdamW, groups_by_decay
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
    sizes = sizes or (5, 8, 8, 8, 3)
    layers = [layer for a, b in zip(sizes, sizes[1:], strict=False) for layer in (nn.Linear(a, b), nn.ReLU())]
    model = nn.constrain(nn.Sequential(*layers[:-1]), which)
    return model.initialise(Streams(0)).astype(dtype)


def begun(model=None, optimizer=Adam, seed=0, lr=0.01, weight_decay=0.0, **settings):
    model = model or network()
    optimizer = optimizer(groups_by_decay(model.parameters(), weight_decay), lr=lr)
    method = RPR(**settings)
    method.begin(model, optimizer, None, Streams(seed))
    return method, model, optimizer


def loss_of(model, shown, x, y):
    """The loss of a network of plain weights, those of `shown` in place of the model's."""
    plain = network(dtype=x.dtype)
    plain.load_state_dict({**model.state_dict(), **shown})
    return nn.cross_entropy(plain(Tensor(x)), y).item()


def by_filter(layer):
    return layer.scale[:, None]


# ---- scales ----

def test_the_weights_are_divided_by_the_best_scale_of_each_filter_once():
    original = network().state_dict()
    method, *_ = begun(lr=0.1)
    for layer in method.weights:
        assert layer.scale.shape == (8,) and len(set(layer.scale.tolist())) == 8
        assert np.array_equal(layer.parameter.data, original[layer.name] / by_filter(layer))
    scales = [layer.scale for layer in method.weights]
    method.step([batch()])
    method.end_epoch()
    assert all(layer.scale is scale for layer, scale in zip(method.weights, scales, strict=True))


def test_a_filter_of_zeros_trains_on():
    model = network()
    model.constrained_parameters()[0][1].data[2] = 0
    method, *_ = begun(model, fractions="0,1")
    method.step([batch()])
    assert method.weights[0].scale[2] == 1 and np.isfinite(method.weights[0].parameter.data).all()


# ---- the partition ----

def test_each_layer_has_exactly_its_share_frozen_anew_every_epoch():
    method, *_ = begun(epochs=7)
    masks = set()
    for _ in range(7):
        fraction = method.schedule.fractions[method.stage]
        for layer in method.weights:
            assert (~layer.relaxed).sum() == frozen_count(fraction, 64)
            masks.add(layer.relaxed.tobytes())
        method.end_epoch()
    assert fraction == 1 and len(masks) == 2 * 6 + 1            # in the last epoch none is relaxed in either layer


def test_the_partition_depends_on_seed_epoch_and_layer_alone():
    def masks(seed=0, steps=0, **settings):
        method, *_ = begun(seed=seed, fractions="0.5,1", **settings)
        found = []
        for epoch in range(3):
            for i in range(steps):
                method.step([batch(i)])
            found += [((epoch, layer.name), layer.relaxed.tobytes()) for layer in method.weights]
            method.end_epoch()
        return dict(found)

    once = masks()
    assert len(set(once.values())) == len(once) == 6
    assert masks(steps=2, lr=0.1, levels=NAMED["binary"]) == once
    assert not set(masks(seed=1).values()) & set(once.values())


@pytest.mark.parametrize("optimizer", [lambda *a, **k: SGD(*a, momentum=0.9, **k), Adam, AdamW],
                         ids=["sgd", "adam", "adamw"])
def test_frozen_latents_and_their_moments_keep_their_bits_all_epoch(optimizer):
    method, _, optimizer = begun(optimizer=optimizer, lr=0.05, weight_decay=0.1, epochs=10, fractions="0.75,1")
    for epoch in range(4):                                      # later epochs start with moments everywhere
        before = [(layer, layer.parameter.data.copy(), moments(optimizer, layer)) for layer in method.weights]
        for i in range(3):
            method.step([batch(3 * epoch + i)])
        for layer, w, kept in before:
            frozen = ~layer.relaxed
            assert layer.parameter.data[frozen].tobytes() == w[frozen].tobytes()
            assert (layer.parameter.data != w)[layer.relaxed].sum() > 12         # of 16; a ReLU may be off
            for key, array in moments(optimizer, layer).items():
                old = kept.get(key, np.zeros_like(array))
                assert array[frozen].tobytes() == old[frozen].tobytes()
                assert (array != old)[layer.relaxed].any()
        method.end_epoch()


def moments(optimizer, layer):
    parameters = [p for group in optimizer.groups for p in group["params"]]
    prefix = f"params/{[p is layer.parameter for p in parameters].index(True)}/"
    return {key: value for key, value in optimizer.state().items()
            if key.startswith(prefix) and isinstance(value, np.ndarray)}


# ---- a step ----

def test_a_step_sees_the_relaxed_entries_and_everything_between_steps_the_levels():
    method, model, _ = begun(network(dtype=np.float64), fractions="0.5,1")
    x, y = batch(dtype=np.float64)
    relaxed = {layer.name: by_filter(layer) * np.where(layer.relaxed, layer.parameter.data,
                                                       NAMED["ternary"].nearest(layer.parameter.data))
               for layer in method.weights}
    expected = loss_of(model, relaxed, x, y)
    assert method.step([Batch(x, y)]) == pytest.approx(expected, rel=1e-12)
    levels = {layer.name: by_filter(layer) * NAMED["ternary"].nearest(layer.parameter.data)
              for layer in method.weights}
    assert nn.cross_entropy(model(Tensor(x)), y).item() == pytest.approx(loss_of(model, levels, x, y), rel=1e-12)
    assert expected != pytest.approx(loss_of(model, levels, x, y), rel=1e-3)


def test_relaxed_latents_get_scale_times_the_gradient_of_the_shown_weight_and_frozen_ones_none():
    """Central differences of the loss in the shown weight of a network of plain weights."""
    method, model, _ = begun(network(dtype=np.float64), fractions="0.5,1", lr=1e-12)
    x, y = batch(dtype=np.float64)
    shown = {layer.name: by_filter(layer) * np.where(layer.relaxed, layer.parameter.data,
                                                     NAMED["ternary"].nearest(layer.parameter.data))
             for layer in method.weights}
    plain = {name: w.copy() for name, w in shown.items()}
    method.step([Batch(x, y)])
    for layer in method.weights:
        assert (layer.parameter.grad[~layer.relaxed] == 0).all()
        for index in np.argwhere(layer.relaxed)[::5].tolist():
            at, losses = tuple(index), []
            for step in (1e-6, -1e-6):
                plain[layer.name][at] = shown[layer.name][at] + step
                losses.append(loss_of(model, plain, x, y))
            plain[layer.name][at] = shown[layer.name][at]
            difference = (losses[0] - losses[1]) / 2e-6
            assert layer.parameter.grad[at] == pytest.approx(layer.scale[at[0]] * difference, rel=1e-4, abs=1e-8)


def test_at_1_the_constrained_weights_rest_and_what_stays_float_goes_on():
    method, model, _ = begun(fractions="1", weight_decay=0.1)
    before = model.state_dict()
    method.step([batch()])
    constrained = {layer.name for layer in method.weights}
    for name, p in model.named_parameters():
        assert (p.data.tobytes() == before[name].tobytes()) == (name in constrained)
        assert (p.grad is None) == (name in constrained)


def test_a_step_that_fails_leaves_the_quantised_network_behind():
    method, model, _ = begun()
    bad = batch()
    bad.x[0, 0] = np.nan
    with pytest.raises(Diverged):
        method.step([bad])
    assert all(isinstance(p.parametrization, UnitQuantizer) for _, p in model.constrained_parameters())


# ---- the schedule ----

def fractions_of(method, accuracies):
    """The frozen fraction of each epoch, given the validation accuracy at its end."""
    return [method.end_epoch(None if a is None else {"validation_accuracy": a})["frozen"] for a in accuracies]


def test_the_first_fraction_lasts_until_validation_stops_improving_for_five_epochs():
    method, *_ = begun()
    accuracies = [0.5, 0.6, 0.6, 0.6, 0.55, 0.61, 0.61, 0.6, 0.5, 0.61, 0.4]       # the last: five after 0.61
    assert fractions_of(method, [*accuracies, 0.9, 0.1]) == [0.9] * 11 + [0.95] * 2


@pytest.mark.parametrize("accuracies", [[None] * 112, [i / 112 for i in range(112)]], ids=["none", "improving"])
def test_without_validation_or_with_endless_progress_every_fraction_has_its_fixed_length(accuracies):
    method, *_ = begun()
    expected = [0.9] * 37 + [0.95] * 15 + [0.975] * 15 + [0.9875] * 15 + [1.0] * 30
    assert fractions_of(method, accuracies) == expected
    assert method.done


def test_a_plateau_after_the_first_fraction_changes_nothing():
    method, *_ = begun(epochs=40, period=10, final=9, fractions="0.5,0.75,1", patience=1)
    assert fractions_of(method, [0.5] * 21) == [0.5] * 2 + [0.75] * 10 + [1.0] * 9
    assert method.done


def test_it_is_done_after_the_last_epoch_at_1_and_not_before():
    method, *_ = begun(epochs=6)
    seen = []
    while not method.done:
        seen += fractions_of(method, [None])
    assert seen == sorted(seen) and seen[-1] == 1 and len(seen) == 6


def test_the_learning_rate_starts_anew_at_every_fraction():
    method, _, optimizer = begun(lr=1e-3)
    rates = []
    for _ in range(112):
        rates.append(optimizer.groups[0]["lr"])
        assert all(group["lr"] == group["base_lr"] == rates[-1] for group in optimizer.groups)
        method.end_epoch()
    full, tenth, hundredth = 1e-3, 1e-3 * 0.1, 1e-3 * 0.01
    assert rates == [full] * 37 + ([full] * 10 + [tenth] * 5) * 3 + [full] * 10 + [tenth] * 10 + [hundredth] * 10


def test_a_schedule_of_the_loop_is_multiplied_by_it():
    method, _, optimizer = begun(lr=1.0, epochs=6, fractions="0.5,1", final=3)
    schedule, rates = Cosine(6), []
    for epoch in range(6):
        schedule.apply(optimizer, epoch)
        rates.append(optimizer.groups[0]["lr"])
        method.end_epoch()
    assert rates == [Cosine(6).rate(factor, epoch) for epoch, factor in enumerate([1, 1, 1, 1, 0.1, 0.01])]


def test_a_resumed_run_has_the_partition_and_the_rate_of_the_epoch_it_is_in():
    method, model, optimizer = begun(epochs=10)
    for _ in range(9):
        method.step([batch()])
        method.end_epoch({"validation_accuracy": 0.5})
    again = RPR(epochs=10)
    again.begin(model, optimizer, None, Streams(0), state=method.state())
    assert again.schedule.fractions[again.stage] == 1 and not any(layer.relaxed.any() for layer in again.weights)
    assert optimizer.groups[0]["lr"] == 0.01 * 0.1
    again.end_epoch()
    over = RPR(epochs=10)
    over.begin(model, optimizer, None, Streams(0), state=again.state())
    assert again.done and over.done and not method.done


def test_epochs_without_improvement_are_counted_across_a_resume():
    method, model, optimizer = begun()
    fractions_of(method, [0.6, 0.5, 0.5, 0.5])
    again = RPR()
    again.begin(model, optimizer, None, Streams(0), state=method.state())
    assert fractions_of(again, [0.6, 0.55, 0.7]) == [0.9, 0.9, 0.95]


# ---- the finish ----

@pytest.mark.parametrize("epochs_done", [0, 1, 5])
@pytest.mark.parametrize("name", NAMED)
def test_a_finish_at_any_time_puts_every_weight_on_its_level(name, epochs_done):
    method, model, _ = begun(levels=NAMED[name], epochs=5)
    for i in range(epochs_done):
        method.step([batch(i)])
        method.end_epoch()
    codes = [NAMED[name].codes(layer.parameter.data) for layer in method.weights]
    method.finish()
    for layer, code in zip(method.weights, codes, strict=True):
        p = layer.parameter
        assert isinstance(p.parametrization, LevelQuantizer) and np.array_equal(p.parametrization.codes(p.data), code)
        assert p.data.tobytes() == (by_filter(layer) * NAMED[name].values.astype(np.float32)[code]).tobytes()


# ---- what is refused, and what stops a run ----

@pytest.mark.parametrize("sizes", [(5, 3), (5, 8, 3)])
def test_a_network_with_nothing_to_constrain_is_refused_with_the_way_out(sizes):
    with pytest.raises(UsageError, match='rpr: .*no weight to constrain.*constrain "all"'):
        begun(network(*sizes))
    begun(network(*sizes, which="all"))


def test_pretrained_weights_that_are_not_finite_are_refused_by_name():
    model = network()
    name, w = model.constrained_parameters()[1]
    w.data[3, 3] = np.inf
    with pytest.raises(BadInput, match=f"{name}.*not all finite"):
        begun(model)


def test_levels_that_rounding_makes_one_are_refused():
    with pytest.raises(UsageError, match="levels further apart"):
        begun(levels=parse("0.1,0.10000000894"))


def test_a_nan_in_a_frozen_weight_stops_the_run_by_name_at_the_end_of_the_epoch():
    method, *_ = begun()
    layer = method.weights[1]
    layer.parameter.data[2, 3] = np.nan
    with pytest.raises(Diverged, match=f"{layer.name} is nan"):
        method.end_epoch()
    with pytest.raises(Diverged, match=layer.name):
        method.finish()


# ---- from end to end ----

@pytest.mark.parametrize("name", NAMED)
def test_a_small_problem_keeps_its_accuracy_on_levels(name):
    model, batches = network(5, 16, 16, 3), [batch(i, 32) for i in range(10)]
    backprop = Backprop()
    backprop.begin(model, SGD(model.parameters(), lr=0.1, momentum=0.9), None, Streams(0))
    for i in range(200):
        backprop.step([batches[i % 10]])
    plain = accuracy(model, batches)

    method, *_ = begun(model, levels=NAMED[name], epochs=30)
    while not method.done:
        for one in batches:
            method.step([one])
        method.end_epoch()
    method.finish()
    assert accuracy(model, batches) >= plain - 0.03 >= 0.8


def accuracy(model, batches):
    correct = sum((model(Tensor(one.x)).data.argmax(axis=1) == one.y).sum() for one in batches)
    return correct / sum(len(one.y) for one in batches)
