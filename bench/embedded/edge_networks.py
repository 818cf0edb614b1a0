"""Make the packed networks of bench/edge.py, once per folder: real ones for digits and MNIST."""
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyq import models, nn
from tinyq.levels import parse
from tinyq.methods.straight_through import LevelQuantizer
from tinyq.packed.file import format
from tinyq.packed.file.encode_model import pack
from tinyq.packed.file.format import Packed
from tinyq.packed.network import calibrated
from tinyq.saved.eval_splits import split_for
from tinyq.streams import Streams

CIFAR, NOISE = (3, 32, 32), 16         # shape, images
TESTED = 1000                           # images of a test part at most
# Short trainings: the weights are at their levels, and the classes are right.
TRAINED = {"digits": ("--recipe", "digits-cbp"),
           "lenet": ("--recipe", "mnist-lenet-cbp", "--pretrain-epochs", "2", "--epochs", "2")}
NETWORKS = (*TRAINED, "resnet20")


@dataclass(frozen=True)
class Made:
    """A packed network with images to run it on, float32 (n, ...), and their classes; None: the images are noise."""

    packed: Packed
    images: np.ndarray
    classes: np.ndarray | None


def made(name: str, levels: str, folder: Path, mnist: Path | None) -> Made:
    """Return a network with weights on these levels; a training writes into the folder, and is not repeated."""
    if name not in TRAINED:
        return _untrained(name, levels)
    run, file = folder / f"{name}-{levels}", folder / f"{name}-{levels}.tq.h5"
    data = ("--data-path", str(mnist)) if name == "lenet" else ()
    if not file.exists():
        if not run.exists():
            _tinyq("train", *TRAINED[name], "--levels", levels, *data, "--output", str(run))
        _tinyq("pack", str(run), str(file), "--float-layer-bits", "8", "--calibrate", *data)
    packed = format.read(file)
    dataset, _ = split_for(file, packed.meta, "test", data_path=mnist if name == "lenet" else None)
    return Made(packed, *dataset.batch(np.arange(min(len(dataset), TESTED))))


def _tinyq(command, *arguments):
    subprocess.run([sys.executable, "-m", f"tinyq.{command}", *arguments], check=True, stdout=subprocess.DEVNULL)


def _untrained(name, levels):
    """A network with initial weights, rounded to the levels, and noise: its sizes and its counts are real."""
    streams = Streams(0)
    model = models.build(name, 10, CIFAR).initialise(streams)
    for layer, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):                  # another scale per channel, as after a training
            stream = streams.key("norm", layer)
            module.running_var[...] = 0.5 + stream.uniform(module.num_features)
            module.bias.data[...] = 0.3 * stream.normal(module.num_features)
    for _, parameter in model.named_parameters():
        if parameter.constrained:
            scale = np.float32(np.abs(parameter.data).mean(dtype=np.float64))
            parameter.parametrization = LevelQuantizer(parse(levels), scale)
            parameter.data[...] = parameter.parametrization.effective(parameter.data)
    model.eval()
    images = Streams(1).key("images").normal((NOISE, *CIFAR)).astype(np.float32)
    return Made(calibrated(pack(model, CIFAR, {}, float_layer_bits=8), [images[:4]]), images, None)
