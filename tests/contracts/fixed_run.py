"""A fixed training run, for its weights' hash: python fixed_run.py lenet|resnet20|resnet18|googlenet|digits THREADS

All but digits: synthetic images keyed by a seed, SGD with momentum and decay. digits: the command line's own loop,
with augmentation, Adam, pretraining and CBP. Batches and sums are large enough for every constant of the contract to
matter.
"""
import hashlib
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from tinyq import kernels, models, nn, optim, train
from tinyq.autodiff import Tensor
from tinyq.streams import Streams

# model -> steps, batch, image shape
RUNS = {"lenet": (50, 80, (1, 28, 28)), "resnet20": (30, 16, (3, 32, 32)), "resnet18": (5, 16, (3, 64, 64)),
        "googlenet": (5, 16, (3, 64, 64))}
DIGITS = ("--recipe digits-cbp --opt adam --lr 0.001 --digits.padding 1 --pretrain-epochs 2 --epochs 3 "
          "--label-smoothing 0.1")


def weights_after(name):
    """The state of the model after its fixed run: {name: array}."""
    steps, batch, shape = RUNS[name]
    streams = Streams(20)
    model = models.build(name, 10, shape).initialise(streams)
    optimizer = optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4)
    for step in range(steps):
        stream = streams.key("images", name, step)
        labels = stream.integers(0, 10, batch)
        # A class is a brightness, so that there is something to learn and the loss moves.
        images = stream.normal((batch, *shape)) + labels[:, None, None, None] * 0.3
        optimizer.zero_grad()
        model.key_step(streams, 0, step)
        nn.cross_entropy(model(Tensor(images.astype(np.float32))), labels, label_smoothing=0.1).backward()
        optimizer.step()
    total = kernels.sum(images.astype(np.float32), (0, 1, 2, 3))             # over many chunks of a flat reduction
    return {**model.state_dict(), "images/sum": total}


def digits_hash(threads):
    """The hash that a run of the command line writes into its result."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "run"
        assert not train.main([*DIGITS.split(), "--threads", str(threads), "--output", str(output)])
        return json.loads((output / "result.json").read_text())["weights_sha256"]


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
    run, threads = sys.argv[1], int(sys.argv[2])
    if run == "digits":
        print(digits_hash(threads))
    else:
        kernels.set_threads(threads)
        print(digest(weights_after(run)))
