"""A training step (forward, backward, SGD with momentum) of LeNet and ResNet-20 against PyTorch on the CPU.

    pip install torch numpy && python bench/step_small.py [--threads 2] [--pairs 15]

Same weights, data, threads and float32 on both sides; the two take turns.
"""
import argparse

import numpy as np
import torch
from timing import interleave, line, machine, summary

from tinyq import kernels, models, nn, optim
from tinyq.autodiff import Tensor
from tinyq.streams import Streams

F = torch.nn.functional
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


def steps(name):
    """The step of each side, on one batch, from the same weights."""
    batch, shape = NETWORKS[name]
    stream = Streams(0).key("bench", name)
    x, y = stream.normal((batch, *shape)).astype(np.float32), stream.integers(0, 10, batch)

    ours = models.build(name, 10, shape)
    ours.initialise(Streams(0))
    optimizer = optim.SGD(ours.parameters(), lr=0.01, momentum=0.9)

    def our_step():
        optimizer.zero_grad()
        loss = nn.cross_entropy(ours(Tensor(x)), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    peer = {"lenet": torch_lenet, "resnet20": torch_resnet20}[name]()
    with torch.no_grad():
        for theirs, (_, mine) in zip(peer.parameters(), ours.named_parameters(), strict=True):
            theirs.copy_(torch.from_numpy(mine.data.copy()))
    peer_optimizer = torch.optim.SGD(peer.parameters(), lr=0.01, momentum=0.9)
    tx, ty = torch.from_numpy(x), torch.from_numpy(y)

    def peer_step():
        peer_optimizer.zero_grad()
        loss = F.cross_entropy(peer(tx), ty)
        loss.backward()
        peer_optimizer.step()
        return loss.item()

    return our_step, peer_step


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=15)
    args = parser.parse_args()
    kernels.set_threads(args.threads)
    torch.set_num_threads(args.threads)
    print(f"{machine()}; PyTorch {torch.__version__}; {args.threads} threads")
    for name, (batch, _) in NETWORKS.items():
        ours, peer = steps(name)
        print(f"{name}: loss of the first steps {ours():.6f} {peer():.6f}")
        repeat = 20 if name == "lenet" else 2
        measured = interleave(ours, peer, args.pairs, repeat)
        print(line(f"{name} batch {batch}, {args.threads} threads", summary(measured)))


if __name__ == "__main__":
    main()
