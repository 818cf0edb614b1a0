"""What a latent's layer computes with, against the best by trying everything, and the gradient that the latent gets."""
from itertools import product

import numpy as np
import pytest

from tinyq import nn
from tinyq.errors import BadInput, UsageError
from tinyq.levels import NAMED, parse
from tinyq.methods import BWN, METHODS, STE, TWN, LQNets
from tinyq.methods.lqnets import lqnets_method
from tinyq.optim import SGD
from tinyq.streams import Streams
from tinyq.tasks.loss import CROSS_ENTROPY

STREAMS = Streams(5)


def begun(method, w, dtype=np.float64):
    """The constrained weight of a method that has begun on a network whose middle layer holds w, (c_out, c_in)."""
    w = np.asarray(w, dtype)
    model = nn.Sequential(nn.Linear(2, w.shape[1]), nn.Linear(w.shape[1], w.shape[0]), nn.Linear(w.shape[0], 2))
    nn.constrain(model).initialise(STREAMS).astype(dtype)
    model.parameters()[2].data[...] = w
    method.begin(model, SGD(model.parameters(), lr=0.0), None, STREAMS)
    return method.weights[0]


def shown(weight):
    return weight.quantizer.effective(weight.parameter.data)


def latents(number=6, shape=(2, 6)):
    return [STREAMS.key("w", i).normal(shape) * (0.1, 1.0, 3.0)[i % 3] for i in range(number)]


def least_error(w, levels, one_scale):
    """The least |w - s q| of all assignments q of levels, each with its best s; per row, or of the whole w."""
    rows = w.reshape(1, -1) if one_scale else w
    total = 0.0
    for row in rows:
        q = np.array(list(product(levels, repeat=len(row))))
        a, b = q @ row, (q * q).sum(1)
        total += ((row * row).sum() - np.where((a > 0) & (b > 0), a * a / np.where(b > 0, b, 1), 0)).min()
    return total


@pytest.mark.parametrize("levels", ["binary", "ternary", "shift1"])
def test_ste_begins_with_the_least_error_of_all_assignments(levels):
    for w in latents(shape=(2, 5)):
        weight = begun(STE(parse(levels)), w)
        error = ((w - shown(weight)) ** 2).sum()
        assert error == pytest.approx(least_error(w, NAMED[levels].levels, one_scale=False), rel=1e-9)


def test_bwn_has_the_least_error_of_all_signs_and_scales():
    for w in latents():
        weight = begun(BWN(), w)
        assert ((w - shown(weight)) ** 2).sum() == pytest.approx(least_error(w, (-1, 1), one_scale=False), rel=1e-9)


def test_twn_is_close_to_the_least_error_and_has_the_best_scale_of_its_threshold():
    ratios = []
    for w in latents(shape=(2, 4)):
        q = shown(begun(TWN(), w))
        sign = np.where(np.abs(w) > 0.7 * np.abs(w).mean(), np.sign(w), 0)
        np.testing.assert_allclose(q, sign * (w * sign).sum() / (sign * sign).sum(), rtol=1e-12)
        ratios.append(((w - q) ** 2).sum() / least_error(w, (-1, 0, 1), one_scale=True))
    assert min(ratios) >= 1 - 1e-9 and np.median(ratios) < 1.5


def test_a_weight_on_the_threshold_of_twn_goes_to_0():
    w = np.array([[1.4, -1.4, 6.0, -1.2]])                      # mean 2.5, threshold 1.75
    assert shown(begun(TWN(), w)).tolist() == [[0.0, 0.0, 6.0, 0.0]]
    exact = np.array([[0.7, -0.7, 1.3, -1.3]])                  # mean 1, threshold 0.7 to the bit
    assert shown(begun(TWN(), exact))[0, :2].tolist() == [0.0, 0.0]


def test_a_filter_of_zeros_has_a_scale_of_1():
    for method in (BWN(), STE(NAMED["ternary"]), STE(NAMED["ternary"], scale="mean")):
        assert begun(method, [[0.0, 0.0], [1.0, -3.0]]).scale[0] == 1
    assert begun(TWN(), np.zeros((2, 2))).scale == 1


def latent_gradient(weight, incoming):
    """The gradient of the latent where the effective weight has the gradient `incoming`."""
    levels, scale = weight.parameter.effective()
    weight.parameter.grad = None
    levels.backward(incoming * scale[:, None])
    return weight.parameter.grad


def differences(surrogate, w, incoming, step=1e-6):
    """Central differences of sum(incoming * surrogate(w)), entry by entry."""
    found = np.empty_like(w)
    for i in np.ndindex(w.shape):
        moved = [w.copy(), w.copy()]
        moved[0][i] -= step
        moved[1][i] += step
        found[i] = (incoming * (surrogate(moved[1]) - surrogate(moved[0]))).sum() / (2 * step)
    return found


# The function whose derivative each method passes on, at the scales of the latent w itself.
SURROGATES = {
    "ste": lambda w: (lambda v: v),
    "twn": lambda w: (lambda v: v),
    "lqnets": lambda w: (lambda v: v),
    "bwn": lambda w: (lambda v: v / w.shape[1] + np.abs(w).mean(1, keepdims=True) * np.clip(v, -1, 1)),
}


@pytest.mark.parametrize("name", SURROGATES)
def test_the_latent_gets_the_gradient_of_its_surrogate(name):
    for w in latents(3):
        incoming = STREAMS.key("g").normal(w.shape)
        found = latent_gradient(begun(METHODS[name](), w), incoming)
        np.testing.assert_allclose(found, differences(SURROGATES[name](w), w, incoming), rtol=1e-5, atol=1e-8)


def test_one_bit_of_lqnets_is_bwn_with_the_gradient_of_ste():
    for w in latents():
        np.testing.assert_allclose(shown(begun(LQNets(), w)), shown(begun(BWN(), w)), rtol=1e-12)


def test_two_bits_of_lqnets_come_to_the_least_error_of_all_assignments_of_a_basis():
    """One filter, its latent kept still while the basis follows it; the best of all pairs of signs is tried out."""
    for w in latents(6, (1, 5)):
        method = LQNets(parse("-3,-1,1,3"))
        weight, signs = begun(method, w), np.array(list(product((-1, 1), repeat=5)))
        before = ((w - shown(weight)) ** 2).sum()
        for _ in range(200):
            method.requantise()
        least = min(float(np.linalg.lstsq(np.stack([a, b], 1), w[0], rcond=None)[1].sum() or 0)
                    for a in signs for b in signs if abs(a @ b) < 5)
        after = ((w - shown(weight)) ** 2).sum()
        assert least - 1e-9 <= after <= before * (1 + 1e-9) + 2e-3 * (w * w).sum()
        outer = weight.quantizer.level_set.levels
        assert outer[-1] == 1 and outer[2] * 64 == round(outer[2] * 64) and outer[:2] == (-outer[3], -outer[2])


def test_the_basis_of_lqnets_is_that_of_least_squares():
    w = STREAMS.key("basis").normal((1, 400))
    weight = begun(LQNets(parse("-3,-1,1,3")), w)
    codes = weight.quantizer.codes(w)[0]
    signs = np.stack([2.0 * (codes & 1) - 1, 2.0 * (codes >> 1) - 1], 1)
    best = np.linalg.lstsq(signs, w[0] / np.abs(w).mean(), rcond=None)[0]
    np.testing.assert_allclose(lqnets_method.fitted_basis(weight), best, rtol=1e-9)


@pytest.mark.parametrize("method, levels, says", [
    ("lqnets", "ternary", "levels ternary: lqnets is defined for binary, and four symmetric levels"),
    ("lqnets", "-3,-1,1,2", "give binary, or -3,-1,1,3"),
    ("bwn", "ternary", "levels ternary: bwn is defined for binary alone; give binary"),
    ("bwn", "fc1=binary,*=shift1", "levels shift1: bwn is defined for binary alone"),
    ("twn", "binary", "levels binary: twn is defined for ternary alone; give ternary"),
    ("twn", "-2,0,2", "levels -2,0,2: twn is defined"),
])
def test_a_set_that_a_method_is_not_defined_for_is_refused_in_one_line(method, levels, says):
    with pytest.raises(UsageError) as error:
        METHODS[method](levels=parse(levels))
    assert says in str(error.value) and "\n" not in str(error.value)


def test_an_unknown_scale_is_refused():
    with pytest.raises(UsageError, match="scale meen: no such scale; did you mean 'mean'"):
        STE(scale="meen")


def test_a_pretrained_weight_that_is_not_finite_is_refused_by_name():
    for method in (STE(), BWN(), TWN()):
        with pytest.raises(BadInput, match=r"1.weight: its pretrained weights are not all finite"):
            begun(method, [[np.nan, 1.0]])
    assert STE().loss == CROSS_ENTROPY
