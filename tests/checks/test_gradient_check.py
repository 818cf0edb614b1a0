"""The checker itself: wrong rules are found, right ones pass, kinks and surrogates get their own verdicts."""
import doctest

import numpy as np
import pytest

from tinyq.autodiff import (
    PRIMITIVES,
    Primitive,
    Tensor,
    convolution,
    elementwise,
    linalg,
    losses,
    no_record,
    normalization,
    pooling,
    reductions,
    shape,
    tape,
)
from tinyq.checks import WrongGradient, check_gradients, check_vjp, examine_gradients, examine_vjp, gradient_check
from tinyq.errors import TinyqError, UsageError
from tinyq.streams import Streams

STREAMS = Streams(3)


def rng(*name):
    return STREAMS.key("check", *name)


def verdicts(op, *arrays, **params):
    return [finding.verdict for finding in examine_vjp(op, *arrays, rng=rng(), **params)]


# Wrong rules

def cube(x):
    return x + x * x * x, (lambda g: (1 + 3 * x * x) * g,)


def scaled(x):
    return x + x * x * x, (lambda g: (1 + 3 * x * x) * g * 1.0005,)


def wrong_in_one_place(x):
    def vjp(g):
        gx = (1 + 3 * x * x) * g
        gx[617] = 0
        return gx

    return x + x * x * x, (vjp,)


def ignores_g(x):
    return x + x * x * x, (lambda g: (1 + 3 * x * x),)


def permuted(x):
    return x + x * x * x, (lambda g: np.roll((1 + 3 * x * x) * g, 1),)


def of_another_sign(x):
    return x + x * x * x, (lambda g: -(1 + 3 * x * x) * g,)


def not_a_number(x):
    return x + x * x * x, (lambda g: np.where(np.arange(x.size) == 7, np.nan, (1 + 3 * x * x) * g),)


def dead(x):
    return x + x * x * x, (lambda g: np.zeros_like(g),)


@pytest.mark.parametrize("rule", [scaled, wrong_in_one_place, ignores_g, permuted, of_another_sign, not_a_number, dead])
def test_wrong_rules_are_found_every_time(rule):
    for seed in range(50):
        x = rng(rule.__name__, seed).normal(1000)
        with pytest.raises(AssertionError):
            check_vjp(rule, x, rng=rng("g", seed))


def test_the_right_rule_passes_every_time():
    for seed in range(50):
        [finding] = check_vjp(cube, rng("right", seed).normal(1000), rng=rng("g", seed))
        assert finding.verdict == "ok" and finding.entry is None


def test_the_wrong_entry_is_named():
    with pytest.raises(WrongGradient, match=r"^wrong_in_one_place: .* input 0 is wrong at \(617,\)") as error:
        check_vjp(wrong_in_one_place, rng("x").normal(1000), rng=rng())
    [finding] = error.value.findings
    assert finding.entry == (617,) and finding.left == pytest.approx(finding.right, rel=1e-5)
    assert "\n" not in str(error.value) and isinstance(error.value, TinyqError)


def test_a_wrong_shape_or_dtype_is_found():
    with pytest.raises(TinyqError, match="the gradient of input 0"):
        check_vjp(lambda x, y: (x + y, (lambda g: g, lambda g: g)), np.ones(1), np.ones(3), rng=rng())
    with pytest.raises(TinyqError, match="the gradient of input 0 is float32"):
        check_vjp(lambda x: (x * 2, (lambda g: (g * 2).astype(np.float32),)), np.ones(1), rng=rng())


def test_only_the_wrong_input_is_called_wrong():
    def rule(x, y):
        return x * y, (lambda g: g * y, lambda g: g * x * 1.0001)

    assert verdicts(rule, rng("x").normal(50), rng("y").normal(50)) == ["ok", "wrong"]


def test_changing_an_argument_is_found():
    def changes_its_input(x):
        x *= 2
        return x * 1, (lambda g: g * 2,)

    def changes_g(x):
        def vjp(g):
            g *= 2
            return g

        return x * 2, (vjp,)

    def changes_in_the_vjp(x):
        def vjp(g):
            x.fill(0)
            return g * 2

        return x * 2, (vjp,)

    for rule, words in [(changes_its_input, "input 0 is changed in place"), (changes_in_the_vjp, "input 0 is changed"),
                        (changes_g, "a vjp changes the gradient it is given|gives other bits")]:
        with pytest.raises(WrongGradient, match=words):
            check_vjp(rule, np.ones(3), rng=rng())


def test_other_bits_on_the_second_call_are_found():
    calls = []

    def rule(x):
        return x * 2, (lambda g: g * (2 + 1e-15 * len(calls)) if calls.append(1) is None else None,)

    with pytest.raises(WrongGradient, match="other bits when called again"):
        check_vjp(rule, np.ones(300), rng=rng())


def test_float32_inputs_are_widened_and_others_left_alone():
    seen = []

    def rule(x, index, shift=None):
        seen.append((x.dtype, index.dtype, shift))
        return x[index] * 1.0, (lambda g: np.bincount(index, g, len(x)), None, None)

    assert [f.where for f in check_vjp(rule, np.ones(3, np.float32), np.array([0, 1]), None, rng=rng())] == [0]
    assert set(seen) == {(np.dtype(np.float64), np.dtype(np.int64), None)}


@pytest.mark.parametrize("x", [np.array(2.0), np.ones(1), np.zeros((0, 3)), np.ones((2, 1, 3)), np.ones((3, 4)).T])
def test_any_shape_can_be_checked(x):
    assert verdicts(cube, x) == ["ok"]


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e3, 1e6])
def test_any_magnitude_can_be_checked(scale):
    x = scale * (0.5 + rng("scale").uniform(20))
    assert verdicts(elementwise.log, x) == ["ok"]
    assert verdicts(elementwise.sqrt, x) == ["ok"]
    assert verdicts(cube, x) == ["ok"]
    assert verdicts(scaled, x) == ["wrong"]


def test_a_gradient_of_zero_is_right_for_a_constant_function_and_wrong_for_another():
    def constant(x):
        return np.ones_like(x) * 3, (lambda g: np.zeros_like(g),)

    assert verdicts(constant, rng("x").normal(10)) == ["ok"]
    assert verdicts(normalization.batch_norm, np.array([[2.0]]), None, None, eps=1e-5) == ["ok"]
    assert verdicts(dead, rng("x").normal(10)) == ["wrong"]


# Kinks

@pytest.mark.parametrize("op, arrays, params, entry", [
    (elementwise.relu, (np.array([1.0, 0.0, -1.0]),), {}, (1,)),
    (elementwise.abs, (np.array([[1.0, 2.0], [3.0, 0.0]]),), {}, (1, 1)),
    (elementwise.maximum, (np.array([1.0, 2.0]), np.array([0.0, 2.0])), {}, (1,)),
    (elementwise.clip, (np.array([0.5, 1.0]),), {"low": -1.0, "high": 1.0}, (1,)),
    (reductions.max, (np.array([3.0, 1.0, 3.0]),), {}, (0,)),
    (pooling.max_pool2d, (np.array([1.0, 2.0, 2.0, 0.0]).reshape(1, 1, 2, 2),), {"kernel": 2}, (0, 0, 0, 1)),
])
def test_a_point_without_a_derivative_is_a_kink(op, arrays, params, entry):
    for finding in check_vjp(op, *arrays, rng=rng(), **params):
        assert finding.verdict == "kink" and finding.entry == entry
        assert finding.left != pytest.approx(finding.right)


def test_many_kinks_are_a_kink():
    assert verdicts(elementwise.relu, np.zeros((8, 8))) == ["kink"]


@pytest.mark.parametrize("distance", [1e-2, 1e-4, 3e-6])
def test_a_kink_nearby_is_none(distance):
    x = rng("near").normal(100)
    x[[3, 50]] = distance, -distance
    assert verdicts(elementwise.relu, x) == ["ok"]


def test_a_kink_does_not_hide_a_wrong_entry():
    def rule(x):
        return np.where(x > 0, x, 0.0), (lambda g: np.where(x > 0, g, 0) * np.where(np.arange(x.size) == 40, 1.01, 1),)

    x = np.abs(rng("hide").normal(64)) + 0.1
    x[[3, 60]] = 0
    [finding] = examine_vjp(rule, x, rng=rng())
    assert (finding.verdict, finding.entry) == ("wrong", (40,))


def test_a_gradient_outside_the_one_sided_slopes_is_wrong():
    def rule(x):
        return np.where(x > 0, x, 0.0), (lambda g: np.where(x > 0, g, np.where(x == 0, 1.5 * g, 0)),)

    assert verdicts(rule, np.array([0.0, 1.0])) == ["wrong"]


def test_the_middle_of_a_kink_is_a_kink_too():
    """A central difference alone would call it right."""
    def rule(x):
        return np.abs(x), (lambda g: np.sign(x) * g,)

    assert verdicts(rule, np.array([0.0])) == ["kink"]


# Surrogates

def straight_through(x):
    return np.where(x > 0, 1.0, -1.0), (lambda g: g,)


def identity(x):
    return x


def hard_tanh(x):
    return np.clip(x, -1, 1), (lambda g: np.where(np.abs(x) <= 1, g, 0),)


def clipped_straight_through(x):
    return np.where(x > 0, 1.0, -1.0), hard_tanh(x)[1]


def test_a_surrogate_is_held_against_its_declared_rule():
    x = rng("surrogate").normal(50)
    assert verdicts(Primitive(straight_through, surrogate=identity), x) == ["surrogate"]
    assert verdicts(Primitive(clipped_straight_through, surrogate=hard_tanh), x) == ["surrogate"]
    assert verdicts(Primitive(straight_through, surrogate=hard_tanh), x) == ["wrong"]
    assert verdicts(Primitive(clipped_straight_through, surrogate=identity), x) == ["wrong"]


def test_a_surrogate_is_never_passed_off_as_a_derivative():
    assert verdicts(straight_through, rng("surrogate").normal(50)) == ["wrong"]


def test_a_declared_rule_may_have_kinks():
    assert verdicts(Primitive(clipped_straight_through, surrogate=hard_tanh), np.array([0.5, 1.0])) == ["kink"]


# Whole losses

def network(w1=None):
    """A convolution, batch norm, relu, max pooling, a linear layer, the loss; the parameters and the function."""
    parameters = {name: Tensor(rng("net", name).normal(s) * 0.5, requires_grad=True) for name, s in {
        "conv": (3, 2, 3, 3), "weight": (3,), "bias": (3,), "fc": (4, 12), "fc bias": (4,)}.items()}
    x, labels = Tensor(rng("net", "x").normal((5, 2, 6, 6))), np.array([0, 3, 1, 1, 2])

    def loss_of(quantise=lambda w: w):
        p = parameters
        h = convolution.conv2d(x, quantise(p["conv"]))
        h, *_ = normalization.batch_norm(h, p["weight"], p["bias"], eps=1e-5)
        h = shape.flatten(pooling.max_pool2d(elementwise.relu(h), kernel=2), start=1)
        h = linalg.linear(h, p["fc"], None, p["fc bias"])
        return losses.softmax_cross_entropy(h, labels, smoothing=0.1)

    return loss_of, parameters


def test_a_small_network_is_right():
    loss_of, parameters = network()
    found = {f.where: f.verdict for f in check_gradients(loss_of, parameters, rng=rng())}
    assert found == dict.fromkeys(parameters, "ok")


def test_tensors_may_come_as_a_list_and_the_loss_in_any_shape():
    x = Tensor(rng("x").normal((2, 3)), requires_grad=True)
    unused = Tensor(np.ones(2), requires_grad=True)
    findings = check_gradients(lambda: x * x, [x, unused], rng=rng())
    assert [(f.where, f.verdict) for f in findings] == [(0, "ok"), (1, "ok")]


def test_a_wrong_rule_inside_is_found_in_what_lies_behind_it(monkeypatch):
    loss_of, parameters = network()
    right = elementwise.relu.forward

    def rule(x):
        y, (vjp,) = right(x)
        return y, (lambda g: vjp(g) * 1.0005,)

    monkeypatch.setattr(elementwise.relu, "forward", rule)
    found = {f.where: f.verdict for f in examine_gradients(loss_of, parameters, rng=rng())}
    assert found == {"conv": "wrong", "weight": "wrong", "bias": "wrong", "fc": "ok", "fc bias": "ok"}
    with pytest.raises(WrongGradient, match="^loss: the gradient of conv is wrong"):
        check_gradients(loss_of, parameters, rng=rng())


def test_data_and_gradients_are_left_as_they_were():
    loss_of, parameters = network()
    data = {name: p.data for name, p in parameters.items()}
    parameters["conv"].grad = kept = np.ones((3, 2, 3, 3))
    check_gradients(loss_of, parameters, rng=rng())
    assert all(p.data is data[name] for name, p in parameters.items())
    assert parameters["conv"].grad is kept and parameters["fc"].grad is None


def ternary(w, scale=0.4):
    return np.sign(w) * (np.abs(w) > scale / 2), (lambda g: g / scale,)


TERNARY = Primitive(ternary, surrogate=lambda w, scale=0.4: w / scale)


def test_surrogates_in_a_network_are_shown_as_such():
    """CBP's pattern: the layer computes with levels; the latent gets the gradient of the shown weight."""
    loss_of, parameters = network()
    found = {f.where: f.verdict for f in check_gradients(lambda: loss_of(TERNARY), parameters, rng=rng())}
    assert found == {"conv": "surrogate", "weight": "ok", "bias": "ok", "fc": "ok", "fc bias": "ok"}
    assert TERNARY.forward is ternary and not tape.state.replaced


def test_a_surrogate_that_is_not_what_it_declares_is_wrong_in_a_network():
    other = Primitive(ternary, surrogate=lambda w: w)
    loss_of, parameters = network()
    found = {f.where: f.verdict for f in examine_gradients(lambda: loss_of(other), parameters, rng=rng())}
    assert found["conv"] == "wrong" and found["fc"] == "ok"


def test_an_undeclared_straight_through_rule_is_wrong_in_a_network():
    loss_of, parameters = network()
    [finding] = examine_gradients(lambda: loss_of(Primitive(ternary)), {"conv": parameters["conv"]}, rng=rng())
    assert finding.verdict == "wrong"


def test_one_surrogate_used_twice_keeps_its_calls_apart():
    x = Tensor(rng("twice").normal(20), requires_grad=True)
    assert [f.verdict for f in check_gradients(lambda: TERNARY(x) * TERNARY(x * x), [x], rng=rng())] == ["surrogate"]


def test_what_cannot_be_checked_is_refused():
    x = Tensor(np.ones(2, np.float32), requires_grad=True)
    y = Tensor(np.ones(2), requires_grad=True)
    for tensor in (x, Tensor(np.ones(2)), y * 2.0):
        with pytest.raises(UsageError, match="check_gradients: 0 must be a float64 leaf that requires a gradient"):
            check_gradients(lambda t=tensor: t * t, [tensor], rng=rng())


def test_the_check_of_a_network_that_learns_nothing_says_so():
    x = Tensor(np.ones(2), requires_grad=True)

    def loss_of():
        with no_record():
            return x * x

    with pytest.raises(UsageError, match="no leaf behind this tensor requires a gradient"):
        check_gradients(loss_of, [x], rng=rng())


def test_findings_are_one_line():
    [finding] = examine_vjp(PRIMITIVES["relu"], np.zeros(1), rng=rng())
    assert str(finding).startswith("the gradient of input 0 is kink at (0,): ") and "\n" not in str(finding)


@pytest.mark.parametrize("stranger", [np.random.default_rng(0), STREAMS, 0])
def test_randomness_that_is_no_stream_is_named(stranger):
    with pytest.raises(UsageError, match="check_vjp: rng is a .*; give a Stream, such as tinyq.Streams"):
        check_vjp(cube, np.ones(3), rng=stranger)
    with pytest.raises(UsageError, match="check_gradients: rng is a "):
        check_gradients(lambda: leaf * leaf, [leaf := Tensor(np.ones(3), requires_grad=True)], rng=stranger)


def test_the_example_of_check_vjp_runs():
    assert doctest.testmod(gradient_check) == (0, 3)
