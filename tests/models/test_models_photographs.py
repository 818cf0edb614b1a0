"""The networks for photographs: what the choices of their constructors change."""
import numpy as np
import pytest

from tinyq import models, nn
from tinyq.autodiff import Tensor, no_record
from tinyq.methods import Backprop
from tinyq.models.googlenet import HEAD_WEIGHT
from tinyq.optim import SGD
from tinyq.streams import Streams

LEAST = {"alexnet": 63, "alexnet_bn": 63, "resnet18": 8, "cifar_resnet18": 8, "resnet50": 8, "googlenet": 15}


class Batch:
    def __init__(self, shape, n=4, classes=10):
        random = np.random.default_rng(0)
        self.x, self.y = random.standard_normal((n, *shape)).astype(np.float32), random.integers(0, classes, n)


def without_dropout(model):
    for _, module in model.named_modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", LEAST)
def test_the_smallest_image_of_any_channels_is_classified(name, channels):
    model = models.build(name, 7, (channels, LEAST[name], LEAST[name])).eval()
    with no_record():
        assert model(Tensor(Batch((channels, LEAST[name], LEAST[name])).x)).shape == (4, 7)


@pytest.mark.parametrize(("name", "layer", "deviation"), [
    ("resnet18", "layer3.0.conv2", (2 / (256 * 9)) ** 0.5), ("googlenet", "inception4a.branch2.1.conv", 0.01),
    ("googlenet:aux", "aux1.fc1", 0.01),
    pytest.param("alexnet_bn", "classifier.3", (2 / 4096) ** 0.5, marks=pytest.mark.slow),
    ("alexnet", "classifier.4", 1 / (3 * 4096) ** 0.5)])
def test_initial_weights_have_the_deviation_of_torchvisions(name, layer, deviation):
    found = dict(models.build(name, 10, (3, 64, 64)).named_modules())[layer].initialise(Streams(0))
    assert found.weight.data.std() == pytest.approx(deviation, rel=0.02)


def test_all_but_the_first_and_last_layer_are_constrained_and_no_auxiliary_head():
    for which, count in (("inner", 56), ("all", 58)):
        plain, with_heads = (models.build(name, 10, (3, 32, 32), which) for name in ("googlenet", "googlenet:aux"))
        names = [[name for name, _ in model.constrained_parameters()] for model in (plain, with_heads)]
        assert names[0] == names[1] and len(names[0]) == count
    names = [name for name, _ in models.build("resnet18", 10, (3, 32, 32)).constrained_parameters()]
    assert "layer2.0.downsample.0.weight" in names and "conv1.weight" not in names and "fc.weight" not in names


def test_the_inputs_transformation_is_for_rgb_and_can_be_left_out():
    x = Batch((3, 32, 32)).x
    whole, plain = (models.build(name, 10, (3, 32, 32)).initialise(Streams(0)).eval()
                    for name in ("googlenet", "googlenet:untransformed"))
    channel = np.array([[0.485, 0.229], [0.456, 0.224], [0.406, 0.225]])[:, :, None, None].astype(np.float32)
    by_hand = ((x * channel[:, 1] + channel[:, 0]) - 0.5) / 0.5
    with no_record():
        assert np.allclose(whole(Tensor(x)).data, plain(Tensor(by_hand.astype(np.float32))).data, atol=1e-5)
    assert models.build("googlenet", 10, (1, 32, 32)).transform_input is False


def test_auxiliary_heads_add_their_share_to_the_objective_and_change_nothing_else():
    shape = (3, 32, 32)
    model = without_dropout(models.build("googlenet:aux", 10, shape).initialise(Streams(0)).train())
    batch = Batch(shape)
    logits, auxiliary = model.training_outputs(Tensor(batch.x))
    losses = [nn.cross_entropy(output, batch.y).item() for output in (logits, *(output for _, output in auxiliary))]
    plain = without_dropout(models.build("googlenet", 10, shape).initialise(Streams(0)).train())
    assert np.array_equal(plain(Tensor(batch.x)).data, logits.data)

    method, before = Backprop(), model.state_dict()
    method.begin(model, SGD(model.parameters(), lr=0.1), None, Streams(0))
    assert method.step([batch]) == pytest.approx(losses[0] + HEAD_WEIGHT * (losses[1] + losses[2]), rel=1e-6)
    assert method.end_epoch()["train_loss"] == losses[0]
    after = model.state_dict()
    for name in ("aux1.fc2.weight", "aux2.conv.conv.weight", "fc.weight"):
        assert (after[name] != before[name]).any(), name
