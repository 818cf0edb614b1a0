"""Compare a training step (forward, backward, SGD with momentum) of LeNet and ResNet-20 with PyTorch on the CPU.

    pip install torch numpy && python bench/step_small.py [--threads 2] [--pairs 15]

Both contenders have the same weights, data and threads, each a process of its own; they take turns.
"""
import argparse

import numpy as np
import torch
from common.timing import Contender, interleave, line, machine, serve, summary
from common.training_step import tinyq_step, torch_step

from tinyq import models
from tinyq.streams import Streams

F = torch.nn.functional
CONTENDERS = ("tinyq", "torch")
NETWORKS = {"lenet": (64, (1, 28, 28)), "resnet20": (128, (3, 32, 32))}


class Block(torch.nn.Module):
    """The basic block with a parameter-free shortcut (He et al. 2016, option A)."""

    def __init__(self, c_in, c_out, stride):
        super().__init__()
        self.conv1, self.bn1 = torch.nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False), torch.nn.BatchNorm2d(c_out)
        self.conv2, self.bn2 = torch.nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False), torch.nn.BatchNorm2d(c_out)
        self.stride, self.extra = stride, c_out - c_in

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.extra:
            before = self.extra // 2
            x = F.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, before, self.extra - before))
        return F.relu(y + x)


def torch_lenet():
    from torch.nn import Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential

    return Sequential(Conv2d(1, 6, 5, padding=2), ReLU(), MaxPool2d(2), Conv2d(6, 16, 5), ReLU(), MaxPool2d(2),
                      Flatten(), Linear(400, 120), ReLU(), Linear(120, 84), ReLU(), Linear(84, 10))


def torch_resnet20():
    from torch.nn import AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Flatten, Linear, ReLU, Sequential

    stages = [(16 * 2**s, i == 0 and s > 0) for s in range(3) for i in range(3)]         # channels, halves the image
    blocks = [Block(c // (1 + halves), c, 1 + halves) for c, halves in stages]
    return Sequential(Conv2d(3, 16, 3, padding=1, bias=False), BatchNorm2d(16), ReLU(), *blocks,
                      AdaptiveAvgPool2d(1), Flatten(), Linear(64, 10))


def batch_of(name):
    """Return the batch that both contenders train on."""
    batch, shape = NETWORKS[name]
    stream = Streams(0).key("bench", name)
    return stream.normal((batch, *shape)).astype(np.float32), stream.integers(0, 10, batch)


def our_model(name):
    """Network with its initial weights, which the baseline copies."""
    model = models.build(name, 10, NETWORKS[name][1])
    model.initialise(Streams(0))
    return model


def make(contender, name, threads):
    """Training step of one contender."""
    x, y = batch_of(name)
    if contender == "tinyq":
        return tinyq_step(our_model(name), x, y, threads)
    model = {"lenet": torch_lenet, "resnet20": torch_resnet20}[name]()
    with torch.no_grad():
        for theirs, (_, ours) in zip(model.parameters(), our_model(name).named_parameters(), strict=True):
            theirs.copy_(torch.from_numpy(ours.data))
    return torch_step(model, x, y, threads)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--serve", nargs=2, metavar=("CONTENDER", "NETWORK"),
                        help="run as one contender (used by this script)")
    args = parser.parse_args()
    if args.serve:
        return serve(make(*args.serve, args.threads))
    print(f"{machine()}; PyTorch {torch.__version__}; {args.threads} threads")
    for name, (batch, _) in NETWORKS.items():
        losses = [make(contender, name, args.threads)() for contender in CONTENDERS]
        assert abs(losses[0] - losses[1]) < 1e-5, losses              # unequal losses would make the times meaningless
        contenders = [Contender(__file__, "--threads", str(args.threads), "--serve", kind, name) for kind in CONTENDERS]
        measured = interleave(*contenders, args.pairs, repeat=50 if name == "lenet" else 3)
        print(line(f"{name} batch {batch}, {args.threads} threads", summary(measured)), flush=True)
        for contender in contenders:
            contender.close()


if __name__ == "__main__":
    main()
