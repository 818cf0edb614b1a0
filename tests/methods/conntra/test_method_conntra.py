"""CoNNTrA as a method: rounding, visits, refusals, resume."""
import itertools
import re

import numpy as np
import pytest

from tinyq import kernels, levels, models, nn
from tinyq.autodiff import Tensor
from tinyq.data import Table
from tinyq.errors import BadInput, UsageError
from tinyq.kernels.reference.search import visit as reference
from tinyq.levels import NAMED
from tinyq.methods import CoNNTrA
from tinyq.methods.conntra.chain import NotAChain, chain_of
from tinyq.methods.conntra.rounding import show, units_of
from tinyq.methods.conntra.search_setup import logits_of
from tinyq.streams import Streams

SEED = Streams(2)


def table(n=300, features=9, classes=2, finest=16):
    stream = SEED.key("table", n, features)
    y = stream.integers(0, classes, n)
    x = stream.integers(0, 200, (n, features)) + 40 * (np.arange(features) % classes == y[:, None])
    return Table((x / finest).astype(np.float32), y)


def begun(model, data, state=None, seed=SEED, **settings):
    method = CoNNTrA(**settings)
    method.begin(nn.constrain(model, "all"), None, data, seed, state=state)
    return method


def mlp(classes=2, features=9, hidden="8,6"):
    return models.build(f"mlp:{hidden}", classes, (features,), "all").initialise(SEED)


class Share:
    """A batch of which only the number of samples is looked at."""

    def __init__(self, n):
        self.y = np.zeros(n)


def test_on_nine_weights_it_ends_where_no_single_change_helps_as_brute_force_over_all_assignments_says():
    data = table(200, 3, 3)
    model = nn.Sequential(nn.Linear(3, 3, bias=False)).initialise(SEED)
    method = begun(model, data)
    x, y = np.round(data.features * 16), data.labels
    errors = {a: np.count_nonzero((x @ np.reshape(a, (3, 3)).T).argmax(axis=1) != y)
              for a in itertools.product((-1, 0, 1), repeat=9)}
    at = tuple((method.search.held.codes.astype(int) - 1).tolist())
    for pick in SEED.key("picks").integers(0, 9, 60).tolist():
        tried = [at[:pick] + (level,) + at[pick + 1:] for level in (-1, 0, 1)]
        best = min(map(errors.get, tried))
        at = [a for a in tried if errors[a] == best][-1]                       # the last level of the least error
        _, error, _, found = kernels.visit(np.array([pick]), method.search.held)
        assert tuple((method.search.held.codes.astype(int) - 1).tolist()) == at
        assert error[0] == errors[at] and found[0].tolist() == [errors[a] for a in tried]
    neighbours = [at[:i] + (level,) + at[i + 1:] for i in range(9) for level in (-1, 0, 1)]
    assert errors[at] == min(map(errors.get, neighbours))


@pytest.mark.parametrize("error", ["rate", "cross-entropy"])
def test_the_error_never_rises_and_a_visit_changes_at_most_its_own_parameter(error):
    method = begun(mlp(), table(), error=error)
    best = int(method.search.held.block_errors.sum())
    for pick in SEED.key("picks").integers(0, len(method.search.held.codes), 300).tolist():
        before = method.search.held.codes.copy()
        codes, errors, moved, _ = kernels.visit(np.array([pick]), method.search.held)
        assert errors[0] <= best
        assert np.flatnonzero(before != method.search.held.codes).tolist() == [pick] * bool(moved[0])
        assert method.search.held.codes[pick] == codes[0]
        best = int(errors[0])


def test_the_error_it_lowers_falls():
    model = nn.Sequential(nn.Linear(9, 2)).initialise(SEED)
    method = begun(model, table())
    first, *_, last = (method.step([Share(100)]) for _ in range(9))
    assert last < 0.8 * first


def test_an_epoch_visits_as_many_parameters_as_there_are_however_it_is_cut_into_steps():
    whole, parts = begun(mlp(), table()), begun(mlp(), table())
    whole.step([Share(300)])
    for n in (1, 90, 9, 200):
        parts.step([Share(n)])
    assert whole.counts["visits"] == parts.counts["visits"] == len(whole.search.codes)
    np.testing.assert_array_equal(whole.search.codes, parts.search.codes)
    assert whole.end_epoch() == parts.end_epoch()


@pytest.mark.parametrize("whole", [True, False])
def test_a_resume_within_a_pass_goes_on_to_the_bit(whole):
    data = table(finest=16 if whole else 3)
    method = begun(mlp(), data, surrogate=1)
    assert method.search.units.exact == whole
    method.step([Share(120)])
    state = {name: np.array(value) for name, value in method.state().items()}
    resumed = begun(mlp(), data, state=state, surrogate=1)
    for m in (method, resumed):
        m.step([Share(180)])
        m.end_epoch()
        m.step([Share(50)])
    assert {k: np.array(v).tobytes() for k, v in method.state().items()} == {
        k: np.array(v).tobytes() for k, v in resumed.state().items()}
    for p, q in zip(method.search.stages, resumed.search.stages, strict=True):
        assert p.weight.data.tobytes() == q.weight.data.tobytes()


@pytest.mark.parametrize("level_set", ["binary", "ternary", "shift2", "-2,-1,0,1,2", "fc2=-1,0,2,*=shift1"])
def test_the_model_computes_what_the_search_computes_and_every_parameter_is_on_its_level(level_set):
    data = table()
    model = mlp()
    method = begun(model, data, levels=levels.parse(level_set))
    method.step([Share(100)])
    method.finish()
    logits = model(Tensor(data.features)).data
    np.testing.assert_allclose(logits, true_logits(method), rtol=1e-4, atol=1e-4)
    assert np.count_nonzero(logits.argmax(axis=1) == data.labels) == round(
        method.end_epoch()["train_accuracy"] * 300)
    for p in model.parameters():
        assert p.data.tobytes() == p.parametrization.effective(p.data).tobytes()


def test_rounding_scales_every_layer_and_counts_biases_in_units_of_the_input():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    first, second = model[0], model[2]
    first.weight.data[...] = [[4, -4], [0.5, 4]]
    first.bias.data[...] = [0.2, 3]
    second.weight.data[...] = [[0.1, 0], [0, -0.1]]
    second.bias.data[...] = [-1, 0.01]
    method = begun(model, Table(np.array([[1, 2], [0.5, 3]], np.float32), np.array([0, 1])))
    np.testing.assert_allclose(method.search.scales, [[4, 0], [0.1, 0]], rtol=1e-6)
    codes = method.search.held.codes.astype(int) - 1
    np.testing.assert_array_equal(codes, [1, -1, 0, 1, 0, 1, 1, 0, 0, -1, -1, 0])


def test_real_inputs_are_searched_in_float64_and_kept_units_are_what_a_run_gives():
    method = begun(mlp(), table(finest=3))
    assert not method.search.units.exact and method.search.held.stages[:, -1].all()
    method.step([Share(300)])
    kept, errors = method.search.held.kept_wide.copy(), method.search.held.block_errors.copy()
    kernels.recompute(method.search._every_unit, method.search.held)
    np.testing.assert_allclose(method.search.held.kept_wide, kept, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(method.search.held.block_errors, errors)


def normed():
    """Two products with batch norm as a trained network has it, and one without."""
    model = nn.Sequential(nn.Conv2d(1, 3, 2), nn.BatchNorm2d(3), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(),
                          nn.Linear(3, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2)).initialise(SEED)
    for norm in (model[1], model[6]):
        stream = SEED.key("norm", norm.num_features)
        norm.weight.data[...], norm.bias.data[...] = stream.normal((2, norm.num_features))
        norm.running_mean[...] = stream.normal(norm.num_features)
        norm.running_var[...] = 0.5 + stream.uniform(norm.num_features)
    return model


class NormWithReLU(nn.Module):
    def __init__(self):
        self.fc1, self.norm, self.fc2 = nn.Linear(9, 5), nn.BatchNorm1d(5), nn.Linear(5, 2)

    def forward(self, x):
        return self.fc2(self.norm(self.fc1(x), relu=True))


def test_a_relu_within_batch_norm_is_one_behind_it():
    model = NormWithReLU().initialise(SEED)
    parts = nn.Sequential(model.fc1, model.norm, nn.ReLU(), model.fc2)
    assert [stage.relu for stage in chain_of(model, np.zeros((1, 9), np.float32))] == [True, False] \
        == [stage.relu for stage in chain_of(parts, np.zeros((1, 9), np.float32))]


def true_logits(method):
    search = method.search
    return logits_of(search.held) * (units_of(search.stages, search.scales)[1] / search.units.logits)


def copied(held):
    return held._replace(**{name: array.copy() for name, array in held._asdict().items()})


@pytest.mark.parametrize("middle", [
    (nn.ReLU(), nn.AvgPool2d(2)), (nn.AvgPool2d((2, 1)), nn.ReLU()), (nn.ReLU(), nn.AdaptiveAvgPool2d(1)),
], ids=["relu-mean", "mean-relu", "relu-global"])
@pytest.mark.parametrize("finest", [16, 3])
def test_means_over_windows_are_sums_in_other_units(middle, finest):
    data = images(finest=finest)
    pixels = 2 if isinstance(middle[0], nn.AvgPool2d) else 1
    model = nn.Sequential(nn.Conv2d(1, 3, 2), *middle, nn.Flatten(), nn.Linear(3 * pixels, 2)).initialise(SEED)
    method = begun(model, data, error="cross-entropy")
    assert method.search.units.exact == (finest == 16)
    picks = SEED.key("means").integers(0, len(method.search.held.codes), 150)
    literal = copied(method.search.held)
    found = kernels.visit(picks, method.search.held)
    for ours, theirs in zip(found, reference.visit(picks, literal), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    show(method.search.stages, method.search.held.codes)
    np.testing.assert_allclose(model.eval()(Tensor(data.features)).data, true_logits(method), rtol=1e-4, atol=1e-4)


# Of normed(): a batch norm has other levels than the layer before it.
NORMS_APART = "0=binary,1=-1,0,2,*=ternary"


def images(n=300, finest=16):
    flat = table(n, finest=finest)
    return Table(flat.features.reshape(n, 1, 3, 3), flat.labels)


@pytest.mark.parametrize("level_set", ["binary", "shift1", NORMS_APART])
@pytest.mark.parametrize("error", ["rate", "cross-entropy"])
def test_batch_norm_is_searched_in_float64_and_its_weights_are_discrete_too(level_set, error):
    data, model = images(), normed()
    method = begun(model, data, levels=levels.parse(level_set), error=error)
    assert not method.search.units.exact
    assert len(method.search.held.codes) == sum(p.size for p in model.parameters())
    first = method.search.mean_error()
    total = len(method.search.held.codes)
    picks = np.concatenate([np.arange(total), SEED.key("n").integers(0, total, 200)])
    literal = copied(method.search.held)
    found = kernels.visit(picks, method.search.held)
    codes, errors, moved, _ = found
    assert [array.tolist() for array in reference.visit(picks, literal)] == [array.tolist() for array in found]
    show(method.search.stages, method.search.held.codes)
    logits = model.eval()(Tensor(data.features)).data
    np.testing.assert_allclose(logits, true_logits(method), rtol=1e-3, atol=1e-3)
    assert method.search.mean_error() <= first and moved.any()
    assert all((p.data == p.parametrization.effective(p.data)).all() for p in model.parameters())


def test_a_subset_is_fixed_by_the_seed():
    one, two = (begun(mlp(), table(), subset=70) for _ in range(2))
    assert np.count_nonzero(one.search.held.labels >= 0) == 70
    np.testing.assert_array_equal(one.search.held.kept_narrow, two.search.held.kept_narrow)
    other = begun(mlp(), table(), subset=70, seed=Streams(9))
    assert not np.array_equal(one.search.held.kept_narrow, other.search.held.kept_narrow)
    with pytest.raises(UsageError, match="subset must be at most 300, the number of training samples, got 301"):
        begun(mlp(), table(), subset=301)


@pytest.mark.parametrize("model, reason", [
    (nn.Sequential(nn.Linear(9, 4), nn.ReLU(), nn.BatchNorm1d(4), nn.Linear(4, 2)), "2 does not follow a Linear"),
    (nn.Sequential(nn.Linear(9, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 2)), "1 has no running"),
    (nn.Sequential(nn.Linear(9, 4), nn.Tanh(), nn.Linear(4, 2)), "1 is a Tanh"),
    (nn.Sequential(nn.ReLU(), nn.Linear(9, 2)), "0 is a ReLU before the first of these"),
], ids=lambda v: v if isinstance(v, str) else "")
def test_a_network_that_is_no_chain_says_so_by_the_layer_and_states_its_cost(model, reason):
    answer = chain_of(model, table().features[:1])
    assert isinstance(answer, NotAChain) and reason in answer.reason
    if "running" not in reason:                             # in evaluation such a layer takes the statistics of a batch
        notice = begun(model, table()).notice
        assert reason in notice and re.search("about .* s per visit over 300 samples, .* days for a pass", notice)


def test_a_mean_of_one_value_is_no_stage():
    model = nn.Sequential(nn.Conv2d(1, 3, 2), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 2)).initialise(SEED)
    assert len(chain_of(model, images().features[:1])) == 2


def test_parameters_left_float_are_refused():
    model = models.build("mlp:8,6", 2, (9,), "inner")
    with pytest.raises(UsageError, match='constrain must be "all"'):
        CoNNTrA().begin(model, None, table(), SEED)


def test_hyper_parameters_that_mean_nothing_are_refused():
    with pytest.raises(UsageError, match="error must be rate, cross-entropy or loss, got rat; did you mean 'rate'"):
        CoNNTrA(error="rat")
    with pytest.raises(UsageError, match="subset must be at least 0, got -1"):
        CoNNTrA(subset=-1)


def test_weights_that_are_not_finite_and_states_that_do_not_fit_are_refused():
    model = mlp()
    model.parameters()[0].data[0, 0] = np.nan
    with pytest.raises(BadInput, match="fc1.weight: .* not all finite"):
        begun(model, table())
    method = begun(mlp(), table(), levels=NAMED["shift1"])
    with pytest.raises(BadInput, match="codes"):
        method.load_state({**method.state(), "codes": np.zeros(3)})
