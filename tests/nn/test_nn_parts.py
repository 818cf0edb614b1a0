"""Layers in lists, tuples and dicts are parts of the network; what computes and is no part is an error."""
import numpy as np
import pytest

from tinyq import Streams, functional, nn
from tinyq.autodiff import Tensor
from tinyq.errors import UsageError
from tinyq.nn import Parameter
from tinyq.nn.constrain import computing_weights


class Blocks(nn.Module):
    def __init__(self):
        self.blocks = [nn.Linear(4, 4), nn.Linear(4, 4)]
        self.heads = {"left": nn.Linear(4, 3), "right": (nn.Linear(4, 3),)}
        self.scales = [Parameter(np.ones(3, np.float32))]
        self.tables = [np.arange(3, dtype=np.float32)]
        self.blocks.append(self.blocks[0])                          # the same layer again

    def forward(self, x):
        for block in self.blocks:
            x = functional.relu(block(x))
        return self.heads["left"](x) + self.heads["right"][0](x) * self.scales[0]


NAMES = ["blocks.0.weight", "blocks.0.bias", "blocks.1.weight", "blocks.1.bias", "heads.left.weight", "heads.left.bias",
         "heads.right.0.weight", "heads.right.0.bias"]


def test_parts_in_containers_are_found_and_named_once():
    model = Blocks()
    assert [name for name, _ in model.named_modules()] == [
        "", "blocks.0", "blocks.1", "heads.left", "heads.right.0"]
    assert sorted(name for name, _ in model.named_parameters()) == sorted([*NAMES, "scales.0"])
    assert [name for name, _ in model.named_buffers()] == ["tables.0"]
    assert "heads.right.0: Linear" in repr(model)


def test_they_are_initialised_trained_and_saved():
    model = Blocks().initialise(Streams(0))
    state = model.state_dict()
    assert sorted(state) == sorted([*NAMES, "scales.0", "tables.0"])
    assert all(state[name].any() for name in NAMES if name.endswith("weight"))
    other = Blocks()
    other.load_state_dict(state)
    x = Tensor(np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32))
    assert (other(x).data == model(x).data).all()
    model.eval()
    assert not any(module.training for _, module in model.named_modules())


def test_a_container_that_contains_itself_ends():
    model = Blocks()
    model.blocks.append(model.blocks)
    assert len(model.named_modules()) == 5


class Hidden(nn.Module):
    """Keeps a layer where nothing looks."""

    def __init__(self):
        self.fc = nn.Linear(4, 3)
        layer = nn.Linear(4, 4)
        self.get = lambda: layer

    def forward(self, x):
        return self.fc(self.get()(x))


def test_a_layer_that_computes_and_is_no_part_is_an_error():
    with pytest.raises(UsageError, match=r"linear uses a parameter of shape \(4, 4\) that the model does not hold"):
        computing_weights(Hidden(), (4,))


def test_a_weight_that_was_never_initialised_is_an_error_at_the_first_training_step():
    model, x = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3)), Tensor(np.ones((2, 4), np.float32))
    state = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3)).initialise(Streams(0)).state_dict()
    with pytest.raises(UsageError, match=r"a weight of shape \(\d, 4\) is all zeros, because it was never initialised"):
        nn.cross_entropy(model(x), np.array([0, 1])).backward()
    model.load_state_dict(state)
    nn.cross_entropy(model(x), np.array([0, 1])).backward()
    zeros = nn.Linear(4, 3, initial_weight=lambda stream, shape: np.zeros(shape, np.float32)).initialise(Streams(0))
    zeros(x).sum().backward()                               # meant to be zeros


def test_a_parameter_that_its_owner_leaves_float_stays_float():
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(4)))
    first = model.parameters()[2]
    first.constrained = False
    assert [name for name, _ in nn.constrain(model).constrained_parameters()] == ["2.weight"]
    assert "1.weight" not in dict(nn.constrain(model, "all").constrained_parameters())
    first.constrained = True
    nn.constrain(model, "none")
    assert [name for name, _ in nn.constrain(model).constrained_parameters()] == ["1.weight", "2.weight"]


@pytest.mark.parametrize("layer, says", [
    ([nn.Linear(1, 1)], r"is a list, not a Module; write nn.Sequential\(\*layers\)"),
    (np.tanh, "layer 0 is a ufunc, not a Module"), (None, "is a NoneType")])
def test_sequential_takes_modules_alone(layer, says):
    with pytest.raises(UsageError, match=says):
        nn.Sequential(layer)
