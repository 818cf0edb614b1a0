"""SGD, Adam, AdamW and the schedules against torch's, over many steps."""
import math

import numpy as np
import pytest

from tinyq import schedules
from tinyq.autodiff import Tensor
from tinyq.optim import SGD, Adam, AdamW

torch = pytest.importorskip("torch")

CASES = [
    (SGD, dict(lr=0.1)),
    (SGD, dict(lr=0.1, weight_decay=1e-2)),
    (SGD, dict(lr=0.05, momentum=0.9)),
    (SGD, dict(lr=0.05, momentum=0.9, dampening=0.3, weight_decay=1e-3)),
    (SGD, dict(lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3)),
    (SGD, dict()),
    (Adam, dict()),
    (Adam, dict(lr=1e-2, betas=(0.8, 0.99), eps=1e-6, weight_decay=1e-2)),
    (AdamW, dict()),
    (AdamW, dict(lr=1e-2, weight_decay=0.1)),
]


def largest_difference(dtype, optimizer, options, steps=200):
    """The largest |ours - torch's| over every step of a walk with given gradients, relative to the largest weight.

    Two groups; the second has its own rate and decay, and its gradient is missing at every third step.
    """
    rng = np.random.default_rng(0)
    starts = [rng.standard_normal(shape).astype(dtype) for shape in ((5, 4), (7,))]
    ours = [Tensor(start.copy(), requires_grad=True) for start in starts]
    theirs = [torch.tensor(start, requires_grad=True) for start in starts]

    def grouped(a, b):
        return [{"params": [a]}, {"params": [b], "lr": 0.02, "weight_decay": 0.03}]

    mine = optimizer(grouped(*ours), **options)
    peer = getattr(torch.optim, optimizer.__name__)(grouped(*theirs), **options)
    worst = 0.0
    for step in range(steps):
        for i, (p, q) in enumerate(zip(ours, theirs, strict=True)):
            g = rng.standard_normal(p.shape).astype(dtype) + 0.3 * p.data
            p.grad = None if i == 1 and step % 3 == 2 else g.astype(dtype)
            q.grad = None if p.grad is None else torch.tensor(p.grad)
        mine.step()
        peer.step()
        for p, q in zip(ours, theirs, strict=True):
            assert p.dtype == dtype
            worst = max(worst, np.abs(p.data - q.detach().numpy()).max() / np.abs(p.data).max())
    return worst


@pytest.mark.parametrize(("optimizer", "options"), CASES, ids=str)
def test_200_steps_agree_in_float64(optimizer, options):
    assert largest_difference(np.float64, optimizer, options) < 1e-12


@pytest.mark.parametrize(("optimizer", "options"), CASES, ids=str)
def test_200_steps_agree_in_float32(optimizer, options):
    assert largest_difference(np.float32, optimizer, options) < 3e-6


def rates_of_torch(make, epochs, base=0.3):
    """The learning rate of each epoch under a torch schedule."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=base)
    schedule, rates = make(optimizer), []
    for _ in range(epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def linear_then(make, epochs, start):
    """Torch's warm-up: LinearLR, then another schedule."""
    peers = torch.optim.lr_scheduler
    return lambda optimizer: peers.SequentialLR(
        optimizer, [peers.LinearLR(optimizer, start, total_iters=epochs), make(optimizer)], milestones=[epochs])


PEERS = torch.optim.lr_scheduler
SCHEDULES = {
    "step": (schedules.Step(7, 0.3), lambda o: PEERS.StepLR(o, 7, 0.3)),
    "step default": (schedules.Step(5), lambda o: PEERS.StepLR(o, 5)),
    "multistep": (schedules.MultiStep((3, 11, 11, 20), 0.2), lambda o: PEERS.MultiStepLR(o, [3, 11, 11, 20], 0.2)),
    "cosine": (schedules.Cosine(29), lambda o: PEERS.CosineAnnealingLR(o, 29)),
    "cosine minimum": (schedules.Cosine(30, 0.01), lambda o: PEERS.CosineAnnealingLR(o, 30, 0.01)),
    "warm-up, cosine": (schedules.WarmUp(schedules.Cosine(25), 5, 0.1),
                        linear_then(lambda o: PEERS.CosineAnnealingLR(o, 25), 5, 0.1)),
    "warm-up, step": (schedules.WarmUp(schedules.Step(4), 6), linear_then(lambda o: PEERS.StepLR(o, 4), 6, 1 / 3)),
}


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.filterwarnings("ignore:The epoch parameter")        # torch's own, from inside SequentialLR
def test_schedules_agree(name):
    ours, theirs = SCHEDULES[name]
    rates = [ours.rate(0.3, epoch) for epoch in range(30)]
    np.testing.assert_allclose(rates, rates_of_torch(theirs, 30), rtol=1e-12, atol=1e-16)


PLATEAUS = [
    dict(),
    dict(patience=2, factor=0.5, cooldown=3),
    dict(mode="max", patience=1, threshold=0.1, threshold_mode="abs"),
    dict(mode="max", patience=3, threshold=0.05),
    dict(patience=0, threshold=0.02, threshold_mode="abs", factor=0.3),
    dict(patience=0, factor=0.2, min_lr=0.01),
]


@pytest.mark.parametrize("options", PLATEAUS, ids=str)
def test_plateau_agrees(options):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    theirs = PEERS.ReduceLROnPlateau(optimizer, **options)
    ours = schedules.Plateau(**{"minimum" if key == "min_lr" else key: value for key, value in options.items()})
    rng = np.random.default_rng(1)
    metrics = [math.nan if i % 17 == 5 else 1 / (1 + i / 10) + 0.2 * rng.random() for i in range(80)]
    for epoch, metric in enumerate(metrics):
        ours.observe(metric)
        theirs.step(metric)
        assert ours.rate(0.3, epoch) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
    assert ours.reductions > 0
