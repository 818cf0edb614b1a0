"""Open what is exported as ONNX: a run folder, a model.h5 or a packed file, with samples to compare with."""
import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyq.errors import UsageError
from tinyq.files import weights as files
from tinyq.packed.file.format import GOLDEN_RANGE, Packed
from tinyq.saved.eval_splits import split_for
from tinyq.saved.exporting.measured_export import held_out
from tinyq.saved.model_file import load_model
from tinyq.saved.packed_file import is_packed, read_packed
from tinyq.saved.packing import pack_model
from tinyq.saved.run_folder import weights_file
from tinyq.streams import Streams

NOISE, FEW = 16, 32                     # samples: of noise; of those that layers are compared on, at most
BATCH, MAX_NUMBERS = 250, 1 << 22       # limits per batch: samples, numbers in them


@dataclass(frozen=True, eq=False)
class Source:
    """A network as it is packed, the file that holds it, and the samples stored in that file."""

    path: Path
    packed: Packed
    stored: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Samples:
    """Batches to compare with, and what they are."""

    batches: Iterable[np.ndarray]
    name: str


def first_of(samples: Samples) -> tuple[np.ndarray, Samples]:
    """Return a few of the first samples, and all of them."""
    batches = iter(samples.batches)
    first = next(batches)
    return first[:FEW], Samples(itertools.chain([first], batches), samples.name)


def open_source(path: str | Path, model: str | None = None) -> Source:
    """Open a run folder, a model.h5 or a .tq.h5. model: of a file whose network is the user's own, with its code."""
    file = weights_file(path)
    if is_packed(file):
        if model is not None:
            raise UsageError(f"model: {path} is packed and holds its network itself; leave it out")
        return Source(file, read_packed(file), None)
    network, attributes = load_model(file, model)
    return Source(file, pack_model(network, attributes), files.read(file).probe_inputs)


def samples_for(source: Source, name: str | None = None, data_path: str | None = None, classes: str | None = None
                ) -> Samples:
    """Return the test samples of the data `name`, else the samples stored in the file, else noise."""
    if name is None:
        if source.stored is not None:
            return Samples([source.stored], "stored in the file")
        shape = (NOISE, *source.packed.graph.input_shape)
        noise = Streams(0).key("noise").uniform(shape, -GOLDEN_RANGE, GOLDEN_RANGE).astype(np.float32)
        return Samples([noise], "of noise")
    bundle = split_for(source.path, source.packed.meta, "train", name, data_path, classes)[1]
    part, split = held_out(bundle)
    step = max(1, min(BATCH, MAX_NUMBERS // math.prod(bundle.input_shape)))
    batches = (np.ascontiguousarray(split.batch(np.arange(first, min(first + step, len(split))))[0], np.float32)
               for first in range(0, len(split), step))
    return Samples(batches, f"of the {part} part of {bundle.name}")
