"""Whole training steps of LeNet and ResNet-20 against torch's.

float64: every gradient, updated weight and running statistic to 1e-9 of torch's, in norm, over three steps.
float32: the error against torch's float64 at most twice torch's own float32 error, median of five batches.
"""
import numpy as np
import pytest

from tinyq import models, nn
from tinyq.autodiff import Tensor
from tinyq.optim import SGD
from tinyq.streams import Streams

torch = pytest.importorskip("torch")
F = torch.nn.functional


class TorchLeNet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = torch.nn.Conv2d(1, 6, 5, padding=2), torch.nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = torch.nn.Linear(400, 120), torch.nn.Linear(120, 84), torch.nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2).flatten(1)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


class TorchBlock(torch.nn.Module):
    def __init__(self, c_in, c_out, stride):
        super().__init__()
        self.conv1, self.bn1 = torch.nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False), torch.nn.BatchNorm2d(c_out)
        self.conv2, self.bn2 = torch.nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False), torch.nn.BatchNorm2d(c_out)
        self.stride, self.half = stride, (c_out - c_in) // 2

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride > 1:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.half, self.half))
        return F.relu(y + x)


class TorchResNet20(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = torch.nn.Conv2d(3, 16, 3, 1, 1, bias=False), torch.nn.BatchNorm2d(16)
        for i, (c_in, c_out) in enumerate(((16, 16), (16, 32), (32, 64)), start=1):
            blocks = [TorchBlock(c_in, c_out, 1 if i == 1 else 2), *(TorchBlock(c_out, c_out, 1) for _ in range(2))]
            setattr(self, f"layer{i}", torch.nn.Sequential(*blocks))
        self.fc = torch.nn.Linear(64, 10)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.fc(x.mean((2, 3)))


NETWORKS = {"lenet": (TorchLeNet, (1, 28, 28)), "resnet20": (TorchResNet20, (3, 32, 32))}
SETTINGS = dict(lr=0.05, momentum=0.9, weight_decay=1e-4)


def images(shape, count, seed):
    """Smooth images, as photographs are, and labels."""
    rng = np.random.default_rng(seed)
    coarse = rng.standard_normal((count, shape[0], shape[1] // 4, shape[2] // 4))
    x = np.kron(coarse, np.ones((4, 4))) + 0.3 * rng.standard_normal((count, *shape))
    return x.astype(np.float32), rng.integers(0, 10, count)


def our_steps(name, dtype, batches):
    """{name: array} after each batch of a fresh network: "grad NAME", and the new weights and buffers."""
    model = models.build(name, 10, NETWORKS[name][1]).initialise(Streams(0)).train().astype(dtype)
    optimizer, steps = SGD(model.parameters(), **SETTINGS), []
    for x, labels in batches:
        optimizer.zero_grad()
        nn.cross_entropy(model(Tensor(x.astype(dtype))), labels).backward()
        gradients = {f"grad {key}": p.grad for key, p in model.named_parameters()}
        optimizer.step()
        steps.append(gradients | model.state_dict())
    return steps


def torch_steps(name, dtype, batches):
    """The same by torch, from the same initial weights."""
    model = TorchLeNet() if name == "lenet" else TorchResNet20()
    start = models.build(name, 10, NETWORKS[name][1]).initialise(Streams(0)).state_dict()
    model.load_state_dict({key: torch.tensor(array) for key, array in start.items()})
    model = model.to(torch.float64 if dtype == np.float64 else torch.float32)
    optimizer, steps = torch.optim.SGD(model.parameters(), **SETTINGS), []
    for x, labels in batches:
        optimizer.zero_grad()
        F.cross_entropy(model(torch.tensor(x.astype(dtype))), torch.tensor(labels)).backward()
        gradients = {f"grad {key}": p.grad.numpy().copy() for key, p in model.named_parameters()}
        optimizer.step()
        steps.append(gradients | {key: value.numpy().copy() for key, value in model.state_dict().items()})
    return steps


def distance(step, truth, kind):
    """The norm of the difference over the norm of the truth, over all entries of a kind ("grad " or the rest)."""
    keys = [key for key in truth if key.startswith("grad ") == (kind == "gradients")]
    error, norm = (sum(np.square(array.astype(np.float64)).sum() for array in arrays) for arrays in (
        [step[key] - truth[key] for key in keys], [truth[key] for key in keys]))
    return float(np.sqrt(error / norm))


@pytest.mark.parametrize(("name", "count"), [("lenet", 8), ("resnet20", 2)])
def test_three_steps_in_float64_give_torchs_gradients_weights_and_statistics(name, count):
    batches = [images(NETWORKS[name][1], count, seed) for seed in range(3)]
    ours, theirs = our_steps(name, np.float64, batches), torch_steps(name, np.float64, batches)
    for step, truth in zip(ours, theirs, strict=True):
        assert step.keys() == truth.keys()
        for key, expected in truth.items():
            assert step[key].dtype == expected.dtype and step[key].shape == expected.shape
            assert np.linalg.norm(step[key] - expected) <= 1e-9 * np.linalg.norm(expected), key


@pytest.mark.parametrize(("name", "count"), [("lenet", 64), ("resnet20", 128)])
def test_a_step_in_float32_errs_at_most_twice_as_much_as_torchs(name, count):
    """Rounding turns a few ReLUs of ResNet-20 over, which is most of either error: the batch has to be a real one."""
    errors = {"gradients": [], "weights": []}
    for seed in range(5):
        batch = [images(NETWORKS[name][1], count, seed)]
        truth, = torch_steps(name, np.float64, batch)
        theirs, = torch_steps(name, np.float32, batch)
        ours, = our_steps(name, np.float32, batch)
        for kind, found in errors.items():
            found.append((distance(ours, truth, kind), distance(theirs, truth, kind)))
    for found in errors.values():
        mine, torchs = np.median(found, axis=0)
        assert mine <= 2 * torchs, found
