"""The view of a constrained weight: what the layer shows, what is saved, and which gradient the latent weight gets."""
import numpy as np
import pytest

from tinyq.autodiff import Tensor
from tinyq.checks import check_vjp
from tinyq.levels import NAMED, rounded_down
from tinyq.methods import LevelQuantizer
from tinyq.methods.straight_through import straight_through
from tinyq.streams import Streams

DTYPES = [np.float32, np.float64]


def latent(shape, dtype=np.float32):
    return Streams(0).key("latent").normal(shape).astype(dtype)


def scales(kind, dtype=np.float32):
    return np.array(0.6, dtype) if kind == "one" else np.linspace(0.3, 0.9, 4).astype(dtype)


@pytest.mark.parametrize("level_set", NAMED.values(), ids=lambda s: s.name)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(4, 5), (4, 3, 3, 3)], ids=str)
@pytest.mark.parametrize("kind", ["one", "one a filter"])
def test_what_is_shown_is_scale_times_the_coded_level(level_set, dtype, shape, kind):
    view, w = LevelQuantizer(level_set, scales(kind, dtype)), latent(shape, dtype)
    levels, scale = view(Tensor(w))
    assert levels.dtype == scale.dtype == dtype and scale.shape == (4,)
    assert np.array_equal(levels.data, level_set.values.astype(dtype)[view.codes(w)])
    by_filter = scale.reshape(-1, *[1] * (w.ndim - 1))
    assert view.effective(w).dtype == dtype and np.array_equal(view.effective(w), by_filter * levels.data)
    assert np.array_equal(view.codes(w), level_set.codes(w, by_filter))


@pytest.mark.parametrize("level_set", NAMED.values(), ids=lambda s: s.name)
@pytest.mark.parametrize("kind", ["one", "one a filter"])
def test_a_shown_weight_shows_itself(level_set, kind):
    view = LevelQuantizer(level_set, scales(kind))
    shown = view.effective(latent((4, 50)))
    assert view.effective(shown).tobytes() == shown.tobytes()


def test_a_float32_scale_serves_a_float64_latent_with_the_same_codes():
    view, w = LevelQuantizer(NAMED["shift2"], scales("one a filter")), latent((4, 200))
    assert np.array_equal(view.codes(w), view.codes(w.astype(np.float64)))
    assert view(Tensor(w.astype(np.float64)))[0].dtype == np.float64


def test_a_tie_shows_the_lower_level():
    view = LevelQuantizer(NAMED["binary"], np.array(0.5, np.float32))
    assert view.effective(np.zeros((2, 2), np.float32)).tolist() == [[-0.5, -0.5], [-0.5, -0.5]]


@pytest.mark.parametrize("kind", ["one", "one a filter"])
def test_the_gradient_is_that_of_the_declared_surrogate_and_is_called_so(kind):
    scale = scales(kind, np.float64).reshape(-1, 1)
    thresholds = rounded_down(scale * NAMED["ternary"].midpoints, np.float64)
    params = dict(scale=scale, thresholds=thresholds if kind != "one" else thresholds[0],
                  levels=NAMED["ternary"].values)
    findings = check_vjp(straight_through, latent((4, 5), np.float64), rng=Streams(1).key("check"), **params)
    assert [finding.verdict for finding in findings] == ["surrogate"]


def test_the_latent_gets_the_gradient_over_the_scale():
    w = Tensor(latent((4, 5)), requires_grad=True)
    g = latent((4, 5)) + np.float32(3)
    LevelQuantizer(NAMED["ternary"], scales("one a filter"))(w)[0].backward(g)
    assert np.array_equal(w.grad, g / scales("one a filter").reshape(-1, 1))
