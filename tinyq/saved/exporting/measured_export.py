"""Choose the samples of an export's self-test, and measure the network that is exported beside the float network."""
import math

import numpy as np

from tinyq.data import DataBundle, Dataset
from tinyq.nn import Module
from tinyq.packed.c.c_source import Samples
from tinyq.packed.file.format import Packed
from tinyq.packed.network import PackedNetwork
from tinyq.saved.measure import Network, measure
from tinyq.tasks.loss_choice import loss_of_file

SAMPLES, MAX_NUMBERS = 8, 1 << 14       # limits of a self-test: samples, and numbers in their inputs


def held_out(bundle: DataBundle) -> tuple[str, Dataset]:
    """Return (name, split) of the samples to test on: the test part, else validation, else training samples."""
    for name, split in (("test", bundle.test), ("validation", bundle.validation), ("train", bundle.train)):
        if split is not None and len(split):
            return name, split
    raise AssertionError("data without samples")


def self_test_samples(bundle: DataBundle) -> Samples | None:
    """Return evenly spaced samples of `held_out`, with classes where these are the targets; None where unreadable."""
    split = held_out(bundle)[1]
    count = max(1, min(SAMPLES, len(split), MAX_NUMBERS // math.prod(bundle.input_shape)))
    x, y = split.batch(np.arange(count) * len(split) // count)
    return None if not len(x) else Samples(x, y if y.ndim == 1 and y.dtype.kind in "iu" else None)


def figures(network: Module | Network, packed: Packed, kind: str, bundle: DataBundle) -> dict[str, str | float]:
    """Return the figures of the integer network and of the float network on `held_out`; kind: of activations."""
    part, split = held_out(bundle)
    loss = loss_of_file({**packed.meta, "class_weights": None}, bundle.num_classes, {part: split.labels})[0]
    found: dict[str, str | float] = {"tested_on": f"{len(split):,} samples of the {part} part of {bundle.name}"}
    scores = [(name, measure(each, split, bundle.num_classes, bundle.input_shape, loss=loss))
              for name, each in ((kind, PackedNetwork(packed, kind)), ("float", network))]
    for figure in scores[0][1].figures:
        values = {f"{figure}_{name}": of.figures[figure] for name, of in scores}
        found |= {name: value for name, value in values.items() if isinstance(value, float)}
    return found
