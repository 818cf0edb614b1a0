"""Promises of every training method to the loop (tinyq/methods/base.py, Method)."""
import dataclasses
import inspect
from typing import NamedTuple

import numpy as np
import pytest

from tinyq import nn
from tinyq.autodiff import Tensor
from tinyq.data import Table
from tinyq.errors import BadInput, Diverged
from tinyq.methods import METHODS, GradientMethod, LevelQuantizer, Method
from tinyq.optim import SGD
from tinyq.streams import Streams
from tinyq.tasks.loss import CrossEntropy

# Hyper-parameters under which a few steps show something: the schedule fires after every epoch.
BUSY = {"cbp": dict(lambda_lr=0.05, period=1), "rpr": dict(epochs=5)}
# Those under which a step sees the network as it is between steps.
STILL = {"rpr": dict(fractions="1")}
every_method = pytest.mark.parametrize("name", METHODS)
# What is promised of gradients, and of the batches they are taken from.
GRADIENT = [name for name, method in METHODS.items() if issubclass(method, GradientMethod)]
every_gradient_method = pytest.mark.parametrize("name", GRADIENT)
CONSTRAIN = {"conntra": "all"}                  # the weights that a method is given to constrain, if not the inner ones


class Batch(NamedTuple):
    x: np.ndarray
    y: np.ndarray


def batch(i, n=16, dtype=np.float32):
    stream = Streams(3).key("batch", i)
    y = stream.integers(0, 3, n)
    return Batch((stream.normal((n, 5)) + y[:, None]).astype(dtype), y)


def network(dtype=np.float32, constrain="inner"):
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    return nn.constrain(model, constrain).initialise(Streams(0)).astype(dtype)


class Run:
    """A method at work on a small network."""

    def __init__(self, name, dtype=np.float32, states=None, **settings):
        self.model = network(dtype, CONSTRAIN.get(name, "inner"))
        self.method = METHODS[name](**{**BUSY.get(name, {}), **settings})
        self.optimizer = SGD(self.model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
        if states:
            self.model.load_state_dict(states["model"])
            self.optimizer.load_state(states["optimizer"])
        self.method.begin(self.model, self.optimizer, Table(*batch(0, 64)), Streams(0),
                          state=states and states["method"])

    def steps(self, *numbers, **kwargs):
        return [self.method.step([batch(i, **kwargs)]) for i in numbers]

    def states(self):
        """As a checkpoint holds them: arrays, nothing else."""
        states = dict(model=self.model.state_dict(), optimizer=self.optimizer.state(), method=self.method.state())
        return {owner: {k: np.array(v) for k, v in state.items()} for owner, state in states.items()}


def assert_same_bits(states, others):
    assert states.keys() == others.keys()
    for owner in states:
        assert states[owner].keys() == others[owner].keys()
        for key, value in states[owner].items():
            assert value.tobytes() == others[owner][key].tobytes(), (owner, key)


@every_method
def test_it_has_the_methods_of_the_protocol(name):
    for member, value in vars(Method).items():
        if inspect.isfunction(value) and not member.startswith("_"):
            ours = inspect.signature(getattr(METHODS[name], member))
            assert list(ours.parameters) == list(inspect.signature(value).parameters), member


@every_method
def test_the_constructor_stores_hyper_parameters_and_begin_makes_the_rest(name):
    method = METHODS[name]()
    given = {f.name for f in dataclasses.fields(method)}
    assert set(vars(method)) == given
    assert not any(key.endswith("_") for key in given)
    run = Run(name)
    before = {key: getattr(run.method, key) for key in given}
    run.steps(0)
    assert {key: getattr(run.method, key) for key in given} == before
    assert not any(key.endswith("_") for key in vars(run.method))


def documented_arguments(method):
    """{name: meaning} of the lines under "Args:" in a class docstring."""
    lines = inspect.getdoc(METHODS[method]).partition("Args:\n")[2].splitlines()
    return dict(line.strip().split(": ", 1) for line in lines if line.strip())


@every_method
def test_every_constructor_argument_has_its_own_line_in_the_docstring(name):
    arguments = documented_arguments(name)
    assert list(arguments) == list(inspect.signature(METHODS[name]).parameters)
    assert all(text.endswith(".") for text in arguments.values())


@every_method
def test_every_hyper_parameter_has_a_default(name):
    assert all(p.default is not p.empty for p in inspect.signature(METHODS[name]).parameters.values())


@every_method
def test_a_step_gives_a_finite_objective_and_keeps_dtypes(name):
    run = Run(name)
    assert all(isinstance(v, float) and np.isfinite(v) for v in run.steps(0, 1, 2))
    assert {p.dtype for p in run.model.parameters()} == {np.dtype(np.float32)}
    assert not run.method.done


@every_gradient_method
def test_the_objective_falls(name):
    run = Run(name)
    values = run.steps(*[0] * 40)
    assert values[-1] < 0.5 * values[0]


@every_method
def test_the_same_run_twice_has_the_same_bits(name):
    runs = Run(name), Run(name)
    for run in runs:
        run.steps(0, 1)
        run.method.end_epoch()
        run.steps(2)
    assert_same_bits(runs[0].states(), runs[1].states())


@every_method
@pytest.mark.parametrize("interrupted_after", [0, 1, 3, 4, 5])
def test_a_resumed_run_equals_the_uninterrupted_one(name, interrupted_after):
    def go_on(run, first, last):
        for i in range(first, last):
            run.steps(i)
            if i % 2 == 1:
                run.method.end_epoch()

    whole, part = Run(name), Run(name)
    go_on(whole, 0, 8)
    go_on(part, 0, interrupted_after)
    resumed = Run(name, states=part.states())
    assert_same_bits(resumed.states(), part.states())
    go_on(resumed, interrupted_after, 8)
    assert_same_bits(resumed.states(), whole.states())


@every_method
def test_a_state_is_a_copy(name):
    run = Run(name)
    run.steps(0)
    before = run.method.state()
    kept = {key: np.array(value) for key, value in before.items()}
    run.steps(1)
    run.method.end_epoch()
    run.steps(2)
    assert all(np.array_equal(before[key], kept[key]) for key in kept)


@every_method
def test_a_state_that_does_not_fit_is_refused_with_every_difference(name):
    run = Run(name)
    state = run.method.state()
    for key in (key for key in state if not key.startswith("ascent/")):         # the optimiser's own test has those
        with pytest.raises(BadInput, match=key):
            run.method.load_state({k: v for k, v in state.items() if k != key})


@every_gradient_method
def test_micro_batches_make_the_gradient_of_their_samples_together(name):
    whole, parts = Run(name, np.float64), Run(name, np.float64)
    for i in range(3):
        together = batch(i, 16, np.float64)
        objective = whole.method.step([together])
        cut = [Batch(together.x[a:b], together.y[a:b]) for a, b in ((0, 3), (3, 10), (10, 16))]
        assert parts.method.step(cut) == pytest.approx(objective, rel=1e-12)
    for a, b in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=0, atol=1e-12)
    assert parts.method.sums.correct == whole.method.sums.correct
    assert parts.method.sums.samples == 48 and parts.method.sums.steps == 3


@every_gradient_method
def test_the_end_of_an_epoch_gives_its_averages_and_resets_them(name):
    run = Run(name)
    objectives = run.steps(0, 1)
    record = run.method.end_epoch({"validation_accuracy": 0.5})
    assert record["train_objective"] == pytest.approx(sum(objectives) / 2)
    assert 0 <= record["train_accuracy"] <= 1 and record["train_accuracy"] * 32 % 1 == 0
    assert all(isinstance(value, (int, float)) for value in record.values())
    assert run.method.sums.samples == 0
    assert run.method.end_epoch().keys() <= record.keys()


@every_gradient_method
@pytest.mark.parametrize("poison", ["input", "weight"])
def test_a_nan_stops_the_run_before_anything_moves(name, poison):
    run = Run(name)
    run.steps(0)
    bad = batch(1)
    if poison == "input":
        bad.x[3, 2] = np.nan
    else:
        run.model.parameters()[0].data[1, 1] = np.nan
    before = run.model.state_dict()
    with pytest.raises(Diverged, match="is nan"):
        run.method.step([bad])
    after = run.model.state_dict()
    assert all(before[key].tobytes() == after[key].tobytes() for key in before)


@every_gradient_method
def test_a_gradient_that_overflows_stops_the_run_before_anything_moves(name):
    run = Run(name)
    first, last = run.model.parameters()[0], run.model.parameters()[-2]
    first.data[...], last.data[...] = 1e-38, last.data * 1000
    before = run.model.state_dict()
    with np.errstate(all="ignore"), pytest.raises(Diverged, match="the gradient of 0.weight is not finite"):
        run.method.step([Batch(np.full((16, 5), 3e38, np.float32), batch(0).y)])
    after = run.model.state_dict()
    assert all(before[key].tobytes() == after[key].tobytes() for key in before)


@every_gradient_method
def test_label_smoothing_reaches_the_loss(name):
    still = STILL.get(name, {})
    plain, smooth = Run(name, **still), Run(name, loss=CrossEntropy(label_smoothing=0.2), **still)
    x, y = batch(0)
    logits = smooth.model(Tensor(x))
    assert smooth.method.step([batch(0)]) == pytest.approx(
        nn.cross_entropy(logits, y, 0.2).item() + plain.method.step([batch(0)]) - nn.cross_entropy(logits, y).item())


@every_method
def test_after_the_finish_every_constrained_weight_is_on_its_level_and_the_network_the_same(name):
    run = Run(name)
    run.steps(0, 1, 2)
    x = Tensor(batch(9).x)
    before = run.model(x).data
    run.method.finish()
    assert run.model(x).data.tobytes() == before.tobytes()
    for _, p in run.model.constrained_parameters():
        if p.parametrization is not None:
            assert isinstance(p.parametrization, LevelQuantizer)
            scale = p.parametrization.scale.reshape(-1, *[1] * (p.ndim - 1))
            levels = p.parametrization.level_set.values.astype(np.float32)[p.parametrization.codes(p.data)]
            assert p.data.tobytes() == (scale * levels).tobytes()


@every_method
def test_only_a_method_that_constrains_installs_a_parametrization(name):
    run = Run(name)
    seen = [p.parametrization is not None for p in run.model.parameters()]
    constrained = {"backprop": lambda p: False, "conntra": lambda p: True}.get(name, lambda p: p.constrained)
    assert seen == [constrained(p) for p in run.model.parameters()]
