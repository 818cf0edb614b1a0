"""Layers against torch's: outputs, every gradient, running statistics, names and defaults."""
import math

import numpy as np
import pytest

from tinyq import models, nn
from tinyq.autodiff import Tensor
from tinyq.streams import Streams

torch = pytest.importorskip("torch")

# The two sides take the same arguments: name, arguments, options, input shape.
LAYERS = [
    ("Linear", (6, 3), {}, (4, 6)),
    ("Linear", (6, 3), {"bias": False}, (4, 6)),
    ("Conv2d", (3, 4, 3), {"stride": 2, "padding": 1}, (2, 3, 7, 8)),
    ("Conv2d", (4, 6, (3, 2), (1, 2), (2, 0), (2, 1), 2), {"bias": False}, (2, 4, 6, 6)),
    ("BatchNorm1d", (5,), {}, (7, 5)),
    ("BatchNorm1d", (5,), {}, (4, 5, 3)),
    ("BatchNorm2d", (3,), {"eps": 1e-3, "momentum": 0.3}, (2, 3, 4, 4)),
    ("BatchNorm2d", (3,), {"momentum": None}, (2, 3, 4, 4)),
    ("BatchNorm2d", (3,), {"affine": False, "track_running_stats": False}, (2, 3, 4, 4)),
    ("MaxPool2d", (3, 2, 1), {}, (2, 3, 6, 7)),
    ("MaxPool2d", ((2, 3),), {"ceil_mode": True}, (2, 3, 7, 7)),
    ("AvgPool2d", (3, 2, 1), {"count_include_pad": False}, (2, 3, 6, 7)),
    ("AdaptiveAvgPool2d", ((2, 3),), {}, (2, 3, 5, 7)),
    ("Conv1d", (4, 6, 3, 2, 1, 2, 2), {}, (2, 4, 9)),
    ("LayerNorm", ((3, 4),), {"eps": 1e-3}, (2, 3, 4)),
    ("GroupNorm", (2, 4), {}, (2, 4, 3, 3)),
    ("LeakyReLU", (0.1,), {}, (2, 3)),
    ("ELU", (0.5,), {}, (2, 3)),
    ("GELU", (), {"approximate": "tanh"}, (2, 3)),
    ("SiLU", (), {}, (2, 3)),
    ("Softmax", (1,), {}, (2, 3)),
    ("ReLU", (), {}, (2, 3)),
    ("Tanh", (), {}, (2, 3)),
    ("Sigmoid", (), {}, (2, 3)),
    ("Flatten", (), {}, (2, 3, 4)),
]


def torch_state(model):
    return {name: torch.tensor(array) for name, array in model.state_dict().items()}


def assert_close(ours, theirs, dtype):
    theirs = theirs.detach().numpy()
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
    tolerance = 20 * np.finfo(dtype).eps * max(1, np.abs(theirs).max(initial=0))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("name", "arguments", "options", "shape"), LAYERS, ids=str)
def test_outputs_gradients_and_statistics_agree_in_training_and_evaluation(name, arguments, options, shape, dtype):
    ours = getattr(nn, name)(*arguments, **options).initialise(Streams(0)).astype(dtype)
    theirs = getattr(torch.nn, name)(*arguments, **options).to(torch.from_numpy(np.zeros(0, dtype)).dtype)
    theirs.load_state_dict(torch_state(ours))                       # the same names and shapes
    rng = np.random.default_rng(0)
    for step in range(4):
        if step == 3:
            ours.eval(), theirs.eval()
        x = rng.standard_normal(shape).astype(dtype)
        mine, peer = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        y, t = ours(mine), theirs(peer)
        assert_close(y.data, t, dtype)
        g = rng.standard_normal(y.shape).astype(dtype)
        y.backward(g)
        t.backward(torch.tensor(g))
        assert_close(mine.grad, peer.grad, dtype)
        for parameter, peer_parameter in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert_close(parameter.grad, peer_parameter.grad, dtype)
            parameter.grad = peer_parameter.grad = None
        for array, (key, value) in zip(ours.state_dict().values(), theirs.state_dict().items(), strict=True):
            assert key in ours.state_dict()
            assert_close(array, value, dtype)


LABELS = np.array([0, 4, 2, 2, 1, 0, 3])
PROBABILITIES = np.random.default_rng(1).dirichlet(np.ones(5), 7)
WEIGHTS = np.array([0.5, 1, 2, 0, 3])


@pytest.mark.parametrize("labels, options", [
    (labels, {"label_smoothing": smoothing, **options}) for smoothing in (0.0, 0.1) for labels, options in [
        (LABELS, {}), (LABELS, {"class_weights": WEIGHTS}), (LABELS, {"ignore_index": 2}),
        (LABELS, {"class_weights": WEIGHTS, "ignore_index": 0}), (np.where(LABELS == 2, -100, LABELS),
                                                                  {"ignore_index": -100}),
        (PROBABILITIES, {}), (PROBABILITIES, {"class_weights": WEIGHTS})]])
def test_cross_entropy_agrees(labels, options):
    logits = np.random.default_rng(0).standard_normal((7, 5)) * 4
    ours, theirs = Tensor(logits, requires_grad=True), torch.tensor(logits, requires_grad=True)
    loss = nn.cross_entropy(ours, labels, **options)
    names = {"class_weights": "weight"}
    peer = torch.nn.functional.cross_entropy(theirs, torch.tensor(labels), **{
        names.get(name, name): torch.tensor(value) if name == "class_weights" else value
        for name, value in options.items()})
    loss.backward()
    peer.backward()
    assert loss.item() == pytest.approx(peer.item(), rel=1e-13)
    assert_close(ours.grad, theirs.grad, np.float64)


def test_binary_cross_entropy_of_certain_probabilities_is_torchs():
    p, target = np.array([0.0, 0, 1, 1, 0.25]), np.array([0.0, 1, 0, 1, 0.5])
    ours, theirs = Tensor(p, requires_grad=True), torch.tensor(p, requires_grad=True)
    loss, peer = nn.binary_cross_entropy(ours, target), torch.nn.functional.binary_cross_entropy(
        theirs, torch.tensor(target))
    loss.backward()
    peer.backward()
    assert loss.item() == pytest.approx(peer.item(), rel=1e-13)
    assert np.allclose(ours.grad, theirs.grad, rtol=1e-8)             # where it divides by 1e-12, a float32 in torch


def test_binary_cross_entropy_keeps_its_digits_where_torchs_float32_is_0():
    x = np.linspace(-80, 80, 321)
    exact = torch.nn.functional.softplus(torch.tensor(x), threshold=1e9).numpy()         # the loss at target 0
    ours = [nn.binary_cross_entropy_with_logits(Tensor(a), np.zeros(1)).item() for a in x.astype(np.float32)[:, None]]
    assert np.allclose(ours, np.where(x < -30, np.exp(x), exact), rtol=4e-7, atol=0)


@pytest.mark.parametrize(("ours", "theirs"), [
    (nn.Linear(300, 200), lambda: torch.nn.Linear(300, 200)),
    (nn.Conv2d(8, 64, 5, groups=2), lambda: torch.nn.Conv2d(8, 64, 5, groups=2)),
], ids=["linear", "conv"])
def test_default_initial_values_have_torchs_distribution(ours, theirs):
    ours.initialise(Streams(0))
    torch.manual_seed(0)
    for mine, peer in zip(ours.parameters(), theirs().parameters(), strict=True):
        peer = peer.detach().numpy()
        quantiles = np.linspace(0, 1, 9)
        tolerance = 3 / math.sqrt(peer.size) * np.abs(peer).max()
        np.testing.assert_allclose(np.quantile(mine.data, quantiles), np.quantile(peer, quantiles), atol=tolerance)


def test_a_resnet_has_torchvisions_names():
    names = models.build("resnet20", 10, (3, 32, 32)).state_dict().keys()
    for name in ("conv1.weight", "bn1.running_mean", "layer1.0.conv1.weight", "layer2.0.bn2.num_batches_tracked",
                 "layer3.2.conv2.weight", "fc.weight", "fc.bias"):
        assert name in names
