"""A fixed training run, for its weights' hash: python fixed_run.py lenet|resnet20 THREADS

Synthetic images keyed by a seed, SGD with momentum and decay; every kernel of a training step takes part.
"""
import hashlib
import sys

import numpy as np

from tinyq import kernels, models, nn, optim
from tinyq.autodiff import Tensor
from tinyq.streams import Streams

# model -> steps, batch, image shape
RUNS = {"lenet": (50, 32, (1, 28, 28)), "resnet20": (30, 16, (3, 32, 32))}


def weights_after(name):
    """The state of the model after its fixed run: {name: array}."""
    steps, batch, shape = RUNS[name]
    streams = Streams(20)
    model = models.build(name, 10, shape)
    model.initialise(streams)
    optimizer = optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4)
    for step in range(steps):
        stream = streams.key("images", name, step)
        labels = stream.integers(0, 10, batch)
        # A class is a brightness, so that there is something to learn and the loss moves.
        images = stream.normal((batch, *shape)) + labels[:, None, None, None] * 0.3
        optimizer.zero_grad()
        nn.cross_entropy(model(Tensor(images.astype(np.float32))), labels, label_smoothing=0.1).backward()
        optimizer.step()
    return model.state_dict()


def digest(state):
    """SHA-256 over name, dtype, shape and little-endian bytes, in name order."""
    total = hashlib.sha256()
    for name in sorted(state):
        array = np.asarray(state[name])
        array = array.astype(array.dtype.newbyteorder("<"))
        total.update(f"{name} {array.dtype.name} {array.shape}".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


if __name__ == "__main__":
    kernels.set_threads(int(sys.argv[2]))
    print(digest(weights_after(sys.argv[1])))
