import math

import numpy as np
import pytest

from tinyq import nn
from tinyq.autodiff import Tensor, elementwise, linalg
from tinyq.errors import BadInput, UsageError
from tinyq.streams import Streams


def keyed(model, seed=0):
    return model.initialise(Streams(seed))


def images(shape, dtype=np.float32, seed=0):
    return Tensor(np.random.default_rng(seed).standard_normal(shape).astype(dtype), requires_grad=True)


EVERY_LAYER = {
    "linear": (nn.Linear(6, 3), (4, 6), (4, 3)),
    "linear without bias": (nn.Linear(6, 3, bias=False), (4, 6), (4, 3)),
    "conv": (nn.Conv2d(3, 4, 3, stride=2, padding=1), (2, 3, 7, 8), (2, 4, 4, 4)),
    "conv grouped, dilated, oblong": (
        nn.Conv2d(4, 6, (3, 2), stride=(1, 2), padding=(2, 0), dilation=(2, 1), groups=2, bias=False),
        (2, 4, 6, 6), (2, 6, 6, 3)),
    "batch norm 1d": (nn.BatchNorm1d(5), (4, 5), (4, 5)),
    "batch norm of sequences": (nn.BatchNorm1d(5), (4, 5, 3), (4, 5, 3)),
    "batch norm 2d": (nn.BatchNorm2d(3), (2, 3, 4, 4), (2, 3, 4, 4)),
    "conv 1d": (nn.Conv1d(3, 4, 3, stride=2, padding=1), (2, 3, 7), (2, 4, 4)),
    "layer norm": (nn.LayerNorm((3, 4)), (2, 3, 4), (2, 3, 4)),
    "layer norm, plain": (nn.LayerNorm(4, affine=False), (2, 3, 4), (2, 3, 4)),
    "group norm": (nn.GroupNorm(2, 4), (2, 4, 3, 3), (2, 4, 3, 3)),
    "silu": (nn.SiLU(), (2, 3), (2, 3)),
    "gelu": (nn.GELU(), (2, 3), (2, 3)),
    "gelu by tanh": (nn.GELU("tanh"), (2, 3), (2, 3)),
    "elu": (nn.ELU(0.5), (2, 3), (2, 3)),
    "leaky relu": (nn.LeakyReLU(0.1), (2, 3), (2, 3)),
    "softmax": (nn.Softmax(1), (2, 3), (2, 3)),
    "max pool": (nn.MaxPool2d(2), (2, 3, 6, 7), (2, 3, 3, 3)),
    "max pool, overlapping": (nn.MaxPool2d(3, stride=2, padding=1), (2, 3, 6, 7), (2, 3, 3, 4)),
    "average pool": (nn.AvgPool2d(2), (2, 3, 6, 7), (2, 3, 3, 3)),
    "adaptive pool": (nn.AdaptiveAvgPool2d((2, 3)), (2, 3, 5, 7), (2, 3, 2, 3)),
    "relu": (nn.ReLU(), (2, 3), (2, 3)),
    "tanh": (nn.Tanh(), (2, 3), (2, 3)),
    "sigmoid": (nn.Sigmoid(), (2, 3), (2, 3)),
    "flatten": (nn.Flatten(), (2, 3, 4), (2, 12)),
    "identity": (nn.Identity(), (2, 3), (2, 3)),
    "dropout": (nn.Dropout(0.5), (2, 3), (2, 3)),
    "sequential": (nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU()), (2, 3, 4), (2, 5)),
}


@pytest.mark.parametrize("name", EVERY_LAYER)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_layer_keeps_dtype_makes_its_shape_and_passes_gradients(name, dtype):
    layer, given, made = EVERY_LAYER[name]
    layer = keyed(layer).train().astype(dtype)
    layer.key_step(Streams(0), 0, 0)
    x = images(given, dtype)
    y = layer(x)
    assert y.shape == made and y.dtype == dtype
    y.backward(np.ones(made, dtype))
    for tensor in (x, *layer.parameters()):
        assert tensor.grad.shape == tensor.shape and tensor.grad.dtype == dtype
    assert repr(layer)


def test_default_weights_fill_the_interval_of_one_over_root_fan_in():
    for layer, fan_in in ((nn.Linear(400, 120), 400), (nn.Conv2d(16, 64, 5, groups=2), 200)):
        keyed(layer)
        bound = 1 / math.sqrt(fan_in)
        for parameter, tolerance in ((layer.weight, 0.01), (layer.bias, 0.2)):
            values = parameter.data / bound
            assert np.abs(values).max() <= 1 and values.std() == pytest.approx(1 / math.sqrt(3), rel=tolerance)


def test_other_initial_weights_have_their_spread():
    for initial, variance in ((nn.init.kaiming_normal, 2 / 144), (nn.init.kaiming_normal_fan_out, 2 / 576)):
        layer = keyed(nn.Conv2d(16, 64, 3, initial_weight=initial))
        assert layer.weight.data.std() == pytest.approx(math.sqrt(variance), rel=0.02)


def test_the_layer_computes_with_what_its_parametrization_makes():
    levels, scale = np.sign(images((4, 6)).data), np.array([0.5, 1, 2, 4], np.float32)
    plain, viewed = keyed(nn.Linear(6, 4)), keyed(nn.Linear(6, 4))
    plain.weight.data[...] = levels * scale[:, None]
    viewed.weight.parametrization = lambda latent: (Tensor(levels), scale)
    x = images((3, 6))
    np.testing.assert_allclose(viewed(x).data, plain(x).data, rtol=1e-6)

    plain, viewed = keyed(nn.Conv2d(3, 4, 3)), keyed(nn.Conv2d(3, 4, 3))
    levels = np.sign(viewed.weight.data)
    plain.weight.data[...] = levels * scale[:, None, None, None]
    viewed.weight.parametrization = lambda latent: (Tensor(levels), scale)
    x = images((2, 3, 5, 5))
    np.testing.assert_allclose(viewed(x).data, plain(x).data, rtol=1e-5, atol=1e-6)


def test_groups_must_divide_the_channels():
    with pytest.raises(UsageError, match="do not divide into 3 groups"):
        nn.Conv2d(4, 6, 3, groups=3)


def test_running_statistics_move_by_the_momentum_with_the_unbiased_variance():
    layer, x = nn.BatchNorm2d(3), images((4, 3, 5, 5))
    layer(x)
    values = x.data.astype(np.float64).transpose(1, 0, 2, 3).reshape(3, -1)
    np.testing.assert_allclose(layer.running_mean, 0.1 * values.mean(1), rtol=1e-5)
    np.testing.assert_allclose(layer.running_var, 0.9 + 0.1 * values.var(1, ddof=1), rtol=1e-6)
    assert layer.num_batches_tracked == 1 and layer.num_batches_tracked.dtype == np.int64
    assert layer.running_mean.dtype == np.float32


def test_without_momentum_the_statistics_are_the_average_of_all_batches():
    layer = nn.BatchNorm1d(3, momentum=None)
    batches = [images((8, 3), seed=i) for i in range(4)]
    for x in batches:
        layer(x)
    np.testing.assert_allclose(layer.running_mean, np.mean([x.data.mean(0) for x in batches], 0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.running_var, np.mean([x.data.var(0, ddof=1) for x in batches], 0), rtol=1e-5)


def test_evaluation_uses_the_running_statistics_and_leaves_them():
    layer = nn.BatchNorm1d(3).eval()
    layer.running_mean[...], layer.running_var[...] = [1, 2, 3], [4, 9, 16]
    x = images((5, 3))
    np.testing.assert_allclose(layer(x).data, (x.data - [1, 2, 3]) / [2, 3, 4], rtol=1e-5, atol=1e-6)
    assert layer.num_batches_tracked == 0 and list(layer.running_mean) == [1, 2, 3]


def test_without_running_statistics_evaluation_uses_the_batch():
    layer = nn.BatchNorm1d(3, affine=False, track_running_stats=False).eval()
    y = layer(images((50, 3))).data
    np.testing.assert_allclose([y.mean(0), y.std(0)], [[0] * 3, [1] * 3], atol=1e-4)
    assert layer.state_dict() == {}


def test_one_value_a_channel_cannot_be_normalised_in_training():
    with pytest.raises(BadInput, match="larger batch"):
        nn.BatchNorm1d(3)(images((1, 3)))
    nn.BatchNorm1d(3).eval()(images((1, 3)))


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_with_shortcut_and_relu_is_its_parts(training):
    fused, parts = nn.BatchNorm2d(3).train(training), nn.BatchNorm2d(3).train(training)
    x, shortcut = images((2, 3, 5, 5)), images((2, 3, 5, 5)) * -0.5
    assert np.array_equal(fused(x, shortcut, relu=True).data, elementwise.relu(parts(x) + shortcut).data)
    assert np.array_equal(fused(x, relu=True).data, elementwise.relu(parts(x)).data)
    assert all(np.array_equal(a, parts.state_dict()[name]) for name, a in fused.state_dict().items())
    with pytest.raises(UsageError, match="give relu=True"):
        fused(x, shortcut)


@pytest.mark.parametrize("shape", [(2, 4, 5, 5), (2, 3), (2, 3, 5)])
def test_batch_norm_names_an_input_it_cannot_take(shape):
    with pytest.raises(UsageError, match="BatchNorm2d of 3 channels: the input is "):
        nn.BatchNorm2d(3)(images(shape))


def test_dropout_keeps_the_mean_and_is_the_same_for_the_same_step():
    layer, x = nn.Dropout(0.3), Tensor(np.ones((100, 100), np.float32))
    first, second = [], []
    for outputs in (first, second):
        layer.key_step(Streams(0), 2, 5)
        outputs += [layer(x).data, layer(x).data]
    assert np.array_equal(first, second) and not np.array_equal(*first)
    assert first[0].mean() == pytest.approx(1, abs=0.02)
    assert set(np.unique(first[0])) == {0, np.float32(1 / 0.7)}
    assert layer.eval()(x) is x


def test_the_masks_of_a_network_change_with_step_epoch_seed_and_layer_and_with_nothing_else():
    model, x = nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.Dropout(0.5))), Tensor(np.ones((8, 8), np.float32))

    def masks(seed, epoch, step):
        model.key_step(Streams(seed), epoch, step)
        return [layer(x).data.tobytes() for layer in (model[0], model[1][0])]

    steps = [(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 1, 0), (0, 1, 1), (1, 0, 0)]
    met = {at: masks(*at) for at in steps}
    assert len({mask for pair in met.values() for mask in pair}) == 2 * len(steps)
    assert all(masks(*at) == met[at] for at in reversed(steps))


def test_dropout_at_its_ends():
    x = images((3, 4))
    assert nn.Dropout(0)(x) is x
    layer = nn.Dropout(1)
    layer.key_step(Streams(0), 0, 0)
    assert not layer(x).data.any()
    with pytest.raises(UsageError, match="call model.key_step"):
        nn.Dropout(0.5)(x)
    with pytest.raises(UsageError, match="p is 1.5"):
        nn.Dropout(1.5)


def test_constrain_marks_inner_weights_all_or_none():
    def marked(which):
        convolutions = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 3)
        model = nn.Sequential(*convolutions, nn.Linear(8, 4), nn.Linear(4, 2))
        return [name for name, _ in nn.constrain(model, which).constrained_parameters()]

    assert marked("inner") == ["2.weight", "3.weight"]
    assert marked("all") == ["0.weight", "2.weight", "3.weight", "4.weight"]
    assert marked("none") == []
    with pytest.raises(UsageError, match="did you mean 'inner'"):
        marked("iner")


def test_a_layer_made_float_stays_float_and_still_counts_as_first_or_last():
    model = nn.Sequential(nn.Linear(2, 2, constrained=False), nn.Linear(2, 2), nn.Linear(2, 2, constrained=False),
                          nn.Linear(2, 2))
    for which, expected in (("none", []), ("all", ["1.weight", "3.weight"]), ("inner", ["1.weight"])):
        assert [name for name, _ in nn.constrain(model, which).constrained_parameters()] == expected


def test_weights_are_met_in_the_order_they_compute_each_once_even_without_a_call_of_their_layer():
    class Tied(nn.Module):
        def __init__(self):
            self.last, self.unused, self.first, self.inside = (nn.Linear(3, 3) for _ in range(4))

        def forward(self, x):
            x = self.first(self.first(x))
            x = linalg.linear(x, *self.inside.weight.effective(), None)
            return self.last(x) / 0.0

    model = Tied().eval().train()
    weights, y = nn.computing_weights(model, (3,))
    assert weights == [model.first.weight, model.inside.weight, model.last.weight] and y.shape == (1, 3)
    assert model.training and y.node is None


def test_a_sequential_is_a_sequence():
    layers = [nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)]
    model = nn.Sequential(*layers)
    assert list(model) == layers and len(model) == 3 and model[1] is layers[1] and model[-1] is layers[2]


def test_cross_entropy_by_hand():
    logits = Tensor(np.log(np.array([[1.0, 2, 1], [3, 3, 2]])), requires_grad=True)
    loss = nn.cross_entropy(logits, np.array([1, 0]))
    assert loss.item() == pytest.approx((math.log(2) + math.log(8 / 3)) / 2, rel=1e-14)
    loss.backward()
    np.testing.assert_allclose(logits.grad, np.array([[0.25, -0.5, 0.25], [-0.625, 0.375, 0.25]]) / 2, rtol=1e-14)
