"""The networks for photographs against torchvision's own definitions, weights handed over by name."""
import importlib.util
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tinyq import models, nn
from tinyq.autodiff import Tensor, no_record
from tinyq.methods import gradient_step
from tinyq.optim import SGD

torch = pytest.importorskip("torch")
NAMES = ("resnet18", "resnext50_32x4d", "googlenet")
CLASSES, SIZE = 1000, 64


@pytest.fixture(scope="module")
def torchvision_models():
    """torchvision.models without its compiled operators, which no network here calls: they are only declared."""
    found = importlib.util.find_spec("torchvision")
    if found is None:
        pytest.skip("torchvision is not installed")
    source = (Path(found.origin).parent / "_meta_registrations.py").read_text()
    library = torch.library.Library("torchvision", "DEF")
    for operator in sorted(set(re.findall(r'(?:register_meta\("|torchvision::)(\w+)', source))):
        library.define(f"{operator}(Tensor a) -> Tensor")
    return importlib.import_module("torchvision.models")


def theirs(name, torchvision_models):
    """Their network with statistics that are not the identity, and without dropout, so that a step has one answer."""
    torch.manual_seed(0)
    base, _, heads = name.partition(":")
    options = {"aux_logits": bool(heads), "init_weights": False} if base == "googlenet" else {}
    network = getattr(torchvision_models, base)(**options)
    network.transform_input = True                          # as ours does, and their pretrained network
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network


def ours(name, network, dtype=np.float32):
    """Our network with their parameters and buffers, every name of which must be there."""
    model = models.build(name, CLASSES, (3, SIZE, SIZE))
    model.load_state_dict({key: value.numpy() for key, value in network.state_dict().items()}, source="torchvision")
    for _, module in model.named_modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model.astype(dtype)


def batch(n, dtype=np.float32, seed=0):
    random = np.random.default_rng(seed)
    return random.standard_normal((n, 3, SIZE, SIZE)).astype(dtype), random.integers(0, CLASSES, n)


def relative(a, b):
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.mark.parametrize("name", NAMES)
def test_logits_and_the_five_likeliest_classes_agree(name, torchvision_models):
    network, (x, _) = theirs(name, torchvision_models).eval(), batch(6)
    with torch.no_grad(), no_record():
        expected, logits = network(torch.from_numpy(x)).numpy(), ours(name, network).eval()(Tensor(x)).data
    assert (np.abs(logits - expected).max(axis=1) <= 1e-4 * np.abs(expected).max(axis=1)).all()
    top = [np.argsort(-values, axis=1, kind="stable")[:, :5].tolist() for values in (logits, expected)]
    assert top[0] == top[1]


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_in_training_agrees(name, torchvision_models):
    network, (x, y) = theirs(name, torchvision_models).train(), batch(8)
    model = ours(name, network).train()
    expected = torch.nn.functional.cross_entropy(network(torch.from_numpy(x)), torch.from_numpy(y)).item()
    assert nn.cross_entropy(model(Tensor(x)), y).item() == pytest.approx(expected, rel=1e-5)


def test_every_name_is_theirs_and_in_their_order(torchvision_models):
    for name in (*NAMES, "googlenet:aux", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2",
                 "resnext50_32x4d"):
        expected = [(key, tuple(array.shape)) for key, array in theirs(name, torchvision_models).state_dict().items()]
        state = models.build(name, CLASSES, (3, SIZE, SIZE)).state_dict()
        assert [(key, array.shape) for key, array in state.items()] == expected, name


def their_step(network, x, y):
    """(loss, gradients by name); the auxiliary heads' losses count 0.3 each, as in the paper."""
    network.zero_grad()
    outputs = network(torch.from_numpy(x))
    outputs = (outputs,) if torch.is_tensor(outputs) else outputs
    own, *others = [torch.nn.functional.cross_entropy(output, torch.from_numpy(y)) for output in outputs]
    loss = own + 0.3 * sum(others)
    loss.backward()
    return loss.item(), {key: p.grad.numpy().copy() for key, p in network.named_parameters()}


def our_step(model, x, y):
    """The same by tinyq, through the step that its methods share."""
    step = gradient_step(model, SGD(model.parameters(), lr=0.0), [SimpleNamespace(x=x, y=y)])
    return step.objective, {key: p.grad for key, p in model.named_parameters()}


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "googlenet:aux",
                                  pytest.param("resnext50_32x4d", marks=pytest.mark.slow)])
def test_every_gradient_of_a_step_in_float64_through_the_plain_twins(name, torchvision_models):
    network, (x, y) = theirs(name, torchvision_models).train(), batch(2, np.float64)
    loss, gradients = our_step(ours(name, network, np.float64).train(), x, y)
    their_loss, expected = their_step(network.double(), x, y)
    assert loss == pytest.approx(their_loss, rel=1e-10) and gradients.keys() == expected.keys()
    for key, gradient in gradients.items():
        assert relative(gradient, expected[key]) < 1e-8, key
