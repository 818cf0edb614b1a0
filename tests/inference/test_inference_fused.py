"""The one evaluation: the same as the layers one after the other, but for one rounding of each scale."""
import numpy as np
import pytest

from tinyq import models, nn
from tinyq.autodiff import Tensor, elementwise, no_record, pooling, shape
from tinyq.inference.fused_network import Fused
from tinyq.kernels.pooling import max_pool
from tinyq.levels import parse
from tinyq.methods.straight_through import LevelQuantizer
from tinyq.streams import Streams

SEED = Streams(8)
NETWORKS = [("lenet", (1, 28, 28)), ("mlp:20,8", (5,)), ("resnet20", (3, 16, 16)), ("resnet18", (3, 32, 32)),
            ("resnet50", (3, 32, 32)), ("googlenet", (3, 32, 32)), ("alexnet", (3, 63, 63)),
            ("alexnet_bn", (3, 63, 63))]


def trained_like(name, shape):
    """A network whose batch norms do something."""
    model = models.build(name, 10, shape).initialise(SEED)
    for place, module in model.named_modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            stream = SEED.key("norm", place)
            count = module.num_features
            module.running_mean[...], module.bias.data[...] = 0.1 * stream.normal((2, count))
            module.running_var[...], module.weight.data[...] = 0.5 + stream.uniform(count), 0.5 + stream.uniform(count)
    return model


def batch(n, shape, dtype=np.float32):
    return SEED.key("batch", n).normal((n, *shape)).astype(dtype)


def layer_by_layer(model, x):
    with no_record():
        return model.eval()(Tensor(x)).data


def steps_of(network):
    program, = network._programs.values()
    return [step.name for _, step, _ in program.steps]


@pytest.mark.parametrize("name, shape", [
    pytest.param(name, shape, id=name, marks=[pytest.mark.slow] if name in ("alexnet_bn", "resnet50") else [])
    for name, shape in NETWORKS])                               # alexnet and resnet18 are of their kinds
def test_a_network_evaluates_as_its_layers_do(name, shape):
    model, x = trained_like(name, shape), batch(3, shape)
    network = Fused(model)
    y, expected = network(x), layer_by_layer(model, x)
    assert y.shape == expected.shape and y.dtype == np.float32
    assert np.abs(y - expected).max() <= 1e-5 * np.abs(expected).max()
    assert not {"conv2d", "linear", "batch_norm_inference", "relu"} & set(steps_of(network))
    wide = model.astype(np.float64)
    exact, parts = Fused(wide)(x.astype(np.float64)), layer_by_layer(wide, x.astype(np.float64))
    assert np.abs(exact - parts).max() <= 1e-12 * np.abs(parts).max()


def test_any_batch_gives_a_sample_the_same_bits():
    model, x = trained_like("resnet20", (3, 16, 16)), batch(5, (3, 16, 16))
    network = Fused(model)
    whole = network(x)
    for i in range(len(x)):
        assert np.array_equal(network(x[i:i + 1])[0], whole[i])


def test_discrete_weights_stay_on_their_levels_and_their_scale_goes_into_the_affine():
    model = nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU()).initialise(SEED)
    weight = model[0].weight
    weight.parametrization = LevelQuantizer(parse("ternary"), np.float32(0.3))
    weight.data[...] = np.float32(0.3) * SEED.key("levels").integers(-1, 2, weight.shape)
    model[1].running_var[...] = 2
    x = batch(2, (2, 6, 6))
    network = Fused(model)
    y = network(x)
    assert steps_of(network) == ["product"]
    assert np.allclose(y, layer_by_layer(model, x), rtol=1e-6, atol=1e-6)


class Branches(nn.Module):
    """What a product must not swallow: a sum that others read, an addition of itself, a ReLU before the norm."""

    def __init__(self):
        self.a, self.b, self.norm = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)

    def forward(self, x):
        shared = self.a(x)
        doubled = shared + shared
        early = self.norm(elementwise.relu(self.b(shared)))
        late = self.norm(self.b(x) + x)
        return elementwise.relu(early + late) + doubled * 2


def test_only_what_follows_a_product_alone_goes_into_it():
    model = Branches().initialise(SEED)
    model.norm.running_mean[...], model.norm.weight.data[...] = 0.3, [2, 0.5]
    x = batch(2, (2, 5, 5))
    network = Fused(model)
    assert np.allclose(network(x), layer_by_layer(model, x), rtol=1e-6, atol=1e-6)
    assert steps_of(network).count("batch_norm_inference") == 2


class Joined(nn.Module):
    """Concatenations of what they alone read, of what another reads too, of one value twice, of a pool, a constant."""

    def __init__(self):
        self.a, self.b, self.c = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(2, 4, 1), nn.Conv2d(2, 2, 1)

    def forward(self, x):
        a, b, c = (elementwise.relu(layer(x)) for layer in (self.a, self.b, self.c))
        added = self.c(x) + x
        alone = shape.concatenate(self.b(x), added, self.a(x), axis=1)
        shared = shape.concatenate(a, b, axis=1)
        twice = shape.concatenate(c, c, axis=1)
        pooled = shape.concatenate(self.a(x), pooling.max_pool2d(x, kernel=3, stride=1, padding=1), axis=1)
        rows = shape.concatenate(self.b(x), self.b(x), axis=2)
        fixed = shape.concatenate(self.b(x), Tensor(np.ones((len(x.data), 1, 5, 5), x.data.dtype)), axis=1)
        parts = [alone, shared, twice, pooled, rows, b * 2, fixed]
        return shape.concatenate(*(part.reshape((len(x.data), -1)) for part in parts), axis=1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 3])
def test_products_that_a_concatenation_alone_reads_are_stored_where_they_are_joined(n, dtype):
    model, x = Joined().initialise(SEED).astype(dtype), batch(n, (2, 5, 5), dtype)
    network = Fused(model)
    for _ in range(2):
        assert np.array_equal(network(x), layer_by_layer(model, x))
    names = steps_of(network)
    assert names.count("allocate") == 1 and names.count("product") == 3 + 2 + 1 + 1 + 2 + 1


def test_googlenet_copies_nothing_to_join_it_and_keeps_no_places_of_maxima(monkeypatch):
    network, x = Fused(trained_like("googlenet", (3, 32, 32))), batch(2, (3, 32, 32))
    network(x)
    monkeypatch.delattr(max_pool, "_maxima")
    monkeypatch.delattr(max_pool, "_maxima_parallel")
    network(x)
    program, = network._programs.values()
    joins = [step for _, step, _ in program.steps if step.name == "concatenate"]
    assert len(joins) == 9 and all(len(step.inputs) == 5 and not step.params for step in joins)


def test_a_constant_may_be_added_to_a_product():
    class Shifted(nn.Module):
        def __init__(self):
            self.a = nn.Conv2d(2, 3, 3, padding=1)

        def forward(self, x):
            return elementwise.relu(self.a(x) + Tensor(np.ones((1, 3, 5, 5), np.float32)))

    model, x = Shifted().initialise(SEED), batch(2, (2, 5, 5))
    assert np.array_equal(Fused(model)(x), layer_by_layer(model, x))


class ShapeDependent(nn.Module):
    """Reads its batch's size, and for one sample does another thing."""

    def __init__(self):
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        x = x.reshape((x.shape[0], 6))
        return self.fc(x) if x.shape[0] > 1 else elementwise.relu(self.fc(x))


def test_a_network_may_depend_on_the_shape_of_its_input():
    model = ShapeDependent().initialise(SEED)
    network = Fused(model)
    for n in (1, 2, 5):
        x = batch(n, (2, 3))
        assert np.array_equal(network(x), layer_by_layer(model, x))


def test_what_does_not_depend_on_the_input_is_its_own_result():
    class Constant(nn.Module):
        def forward(self, x):
            return Tensor(np.ones((2, 3), np.float32))

    assert np.array_equal(Fused(Constant())(batch(2, (4,))), np.ones((2, 3)))


def test_the_models_mode_and_the_caller_s_batch_stay_as_they_were():
    model, x = trained_like("lenet", (1, 28, 28)).train(), batch(2, (1, 28, 28))
    before = x.copy()
    network = Fused(model)
    first = network(x)
    assert model.training and np.array_equal(x, before) and np.array_equal(network(x), first)
