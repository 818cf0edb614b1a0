import math

import numpy as np
import pytest

from tinyq.autodiff import Tensor
from tinyq.errors import BadInput, UsageError
from tinyq.optim import OPTIMIZERS, SGD, Adam, AdamW, groups_by_decay
from tinyq.schedules import Cosine

EVERY_KIND = [
    (SGD, dict(lr=0.1, weight_decay=1e-2)),
    (SGD, dict(lr=0.1, momentum=0.9, dampening=0.2)),
    (SGD, dict(lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-2)),
    (Adam, dict(lr=1e-2, weight_decay=1e-2)),
    (AdamW, dict(lr=1e-2)),
]
every_kind = pytest.mark.parametrize(("optimizer", "options"), EVERY_KIND, ids=str)


def weights(dtype=np.float32):
    rng = np.random.default_rng(0)
    return [Tensor(rng.standard_normal(shape).astype(dtype), requires_grad=True) for shape in ((6, 5), (5,))]


def gradients(params, step):
    rng = np.random.default_rng(100 + step)
    return {p: rng.standard_normal(p.shape).astype(p.dtype) for p in params}


def walk(optimizer, params, steps, where=None):
    for step in steps:
        optimizer.step(gradients(params, step), where)


@every_kind
def test_float32_stays_float32_even_when_a_rate_is_a_numpy_scalar(optimizer, options):
    params = weights()
    mine = optimizer(params, **options)
    mine.groups[0]["lr"] = np.float64(0.1)
    walk(mine, params, range(3))
    assert all(p.dtype == np.float32 for p in params)
    assert all(value.dtype == np.float32 for name, value in mine.state().items() 
               if name.startswith("params/") and not name.endswith("_power"))


@every_kind
def test_parameters_change_in_place(optimizer, options):
    params = weights()
    arrays = [p.data for p in params]
    walk(optimizer(params, **options), params, range(3))
    assert all(p.data is array for p, array in zip(params, arrays, strict=True))


@every_kind
def test_gradients_are_left_as_they_were(optimizer, options):
    params = weights()
    given = gradients(params, 0)
    copies = {p: g.copy() for p, g in given.items()}
    mine = optimizer(params, **options)
    mine.step(given)
    mine.step(given)
    assert all(np.array_equal(given[p], copies[p]) for p in params)


@every_kind
def test_masked_entries_of_parameter_and_memory_keep_their_bits(optimizer, options):
    params = weights()
    mine = optimizer(params, **options)
    walk(mine, params, range(3))                                    # momentum that would carry them on
    mask = np.random.default_rng(1).random((6, 5)) < 0.4
    before, memory = params[0].data.copy(), mine.state()
    walk(mine, params, range(3, 7), where={params[0]: mask})
    after = mine.state()
    assert np.array_equal(params[0].data[~mask], before[~mask])
    assert (params[0].data[mask] != before[mask]).all()
    for key in mine.arrays if f"params/0/{mine.arrays[0]}" in memory else ():
        assert np.array_equal(after[f"params/0/{key}"][~mask], memory[f"params/0/{key}"][~mask])
        assert (after[f"params/0/{key}"][mask] != memory[f"params/0/{key}"][mask]).all()


@every_kind
def test_entries_under_the_mask_move_as_they_would_without_one(optimizer, options):
    plain, masked = weights(), weights()
    mask = np.random.default_rng(1).random((6, 5)) < 0.4
    walk(optimizer(plain, **options), plain, range(4))
    walk(optimizer(masked, **options), masked, range(4), where={masked[0]: mask})
    assert np.array_equal(plain[0].data[mask], masked[0].data[mask])
    assert np.array_equal(plain[1].data, masked[1].data)


def test_a_mask_from_the_first_step_leaves_the_rest_without_momentum():
    params = weights()
    mine = Adam(params)
    mask = np.zeros((6, 5), bool)
    mask[2] = True
    mine.step(gradients(params, 0), where={params[0]: mask})
    assert np.array_equal(mine.state()["params/0/mean"] != 0, mask)


@every_kind
def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(optimizer, options):
    straight, stopped = weights(), weights()
    walk(optimizer(straight, **options), straight, range(8))

    first = optimizer(stopped, **options)
    walk(first, stopped, range(5))
    state = first.state()
    walk(first, weights(), range(2))                                # what was saved does not change afterwards
    second = optimizer(stopped, **options)
    second.load_state(state)
    walk(second, stopped, range(5, 8))
    assert all(np.array_equal(a.data, b.data) for a, b in zip(straight, stopped, strict=True))
    assert second.state().keys() == state.keys()


def test_the_state_survives_numbers_that_come_back_as_arrays():
    params = weights()
    mine = Adam(params, lr=0.3, betas=(0.7, 0.8))
    walk(mine, params, range(2))
    state = {name: np.array(value) for name, value in mine.state().items()}
    other = Adam(params)
    other.load_state(state)
    assert other.groups[0]["betas"] == (0.7, 0.8) and type(other.groups[0]["lr"]) is float
    assert type(other.state()["params/0/beta1_power"]) is float
    assert other.groups[0]["lr"] == 0.3


def test_a_state_that_does_not_fit_is_refused_with_every_difference():
    params = weights()
    mine = Adam(params)
    walk(mine, params, range(1))
    state = mine.state()
    del state["groups/0/eps"], state["params/1/square"]
    state["params/0/mean"] = np.zeros((2, 2), np.float32)
    state["params/0/momentum"] = np.zeros((6, 5), np.float32)
    with pytest.raises(BadInput) as refusal:
        mine.load_state(state)
    for part in ("missing groups/0/eps", "missing params/1/square", "params/0/mean is float32(2, 2)",
                 "unexpected params/0/momentum"):
        assert part in str(refusal.value)


def test_a_parameter_without_gradient_stays_and_has_no_memory():
    params = weights()
    before = params[1].data.copy()
    mine = Adam(params)
    params[0].grad = np.ones((6, 5), np.float32)
    mine.step()
    assert np.array_equal(params[1].data, before)
    assert "params/1/mean" not in mine.state()
    mine.zero_grad()
    assert params[0].grad is None


def test_given_gradients_stand_in_for_the_parameters_own():
    params = weights()
    params[0].grad = np.full((6, 5), np.nan, np.float32)
    SGD(params, lr=1.0).step({params[0]: np.zeros((6, 5), np.float32)})
    assert np.isfinite(params[0].data).all()


def test_adam_corrects_the_bias_per_parameter():
    params = [Tensor(np.zeros(1), requires_grad=True) for _ in range(2)]
    mine = Adam(params, lr=0.1, eps=0.0)
    mine.step({params[0]: np.array([4.0])})
    mine.step({p: np.array([4.0]) for p in params})
    np.testing.assert_allclose([p.data[0] for p in params], [-0.2, -0.1], rtol=1e-12)   # each step is lr * sign


def test_groups_have_their_own_hyper_parameters():
    a, b = weights()
    before = b.data.copy()
    mine = SGD([{"params": [a], "lr": 0.5}, {"params": [b], "lr": 0.0}], lr=0.1)
    assert [group["lr"] for group in mine.groups] == [0.5, 0.0]
    mine.step(gradients((a, b), 0))
    assert np.array_equal(b.data, before)


def test_decay_reaches_weights_only():
    a, b = weights()
    decaying, plain = groups_by_decay([a, b], 0.1)
    assert decaying == {"params": [a], "weight_decay": 0.1} and plain == {"params": [b], "weight_decay": 0.0}
    assert len(groups_by_decay([a], 0.1)) == 1


def test_a_scaled_rate_stays_scaled_under_a_schedule():
    mine = SGD(weights(), lr=0.4)
    schedule = Cosine(10)
    schedule.apply(mine, 5)
    assert mine.groups[0]["lr"] == pytest.approx(0.2)
    mine.scale_lr(0.1)
    assert mine.groups[0]["lr"] == pytest.approx(0.02)
    schedule.apply(mine, 5)
    assert mine.groups[0]["lr"] == pytest.approx(0.02)


@pytest.mark.parametrize(("make", "says"), [
    (lambda p: SGD(p, lr=-1), "lr is -1"),
    (lambda p: SGD(p, lr=math.nan), "lr is nan"),
    (lambda p: SGD(p, momentum=math.inf), "momentum is inf"),
    (lambda p: SGD(p, nesterov=True), "nesterov needs a momentum"),
    (lambda p: SGD(p, momentum=0.9, dampening=0.1, nesterov=True), "nesterov needs a momentum"),
    (lambda p: Adam(p, betas=(0.9, 1.0)), "each must be in [0, 1)"),
    (lambda p: Adam(p, eps=-1e-8), "eps is -1e-08"),
    (lambda p: SGD([]), "no parameters"),
    (lambda p: SGD([*p, p[0]]), "listed twice"),
    (lambda p: SGD([{"params": p, "momentun": 0.9}]), "did you mean 'momentum'?"),
])
def test_a_wrong_setting_is_refused_in_one_line(make, says):
    with pytest.raises(UsageError) as refusal:
        make(weights())
    assert says in str(refusal.value) and "\n" not in str(refusal.value)


def test_the_table_names_them_all():
    assert OPTIMIZERS == {"sgd": SGD, "adam": Adam, "adamw": AdamW}


def test_the_memory_of_a_parameter_is_its_arrays_and_numbers_by_name():
    p = Tensor(np.ones(3, np.float32), requires_grad=True)
    optimizer = Adam([p])
    assert optimizer.memory_of(p) == {}
    optimizer.step({p: np.full(3, 2, np.float32)})
    memory = optimizer.memory_of(p)
    assert list(memory) == ["mean", "square", "beta1_power", "beta2_power"]
    assert memory["mean"][0] == np.float32(2 * (1 - 0.9)) and memory["beta1_power"] == 0.9
    assert memory["square"][0] == np.float32(4) * np.float32(1 - 0.999)
