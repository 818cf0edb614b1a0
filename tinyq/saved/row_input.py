"""Read raw samples without labels from a .csv or .npz, and prepare them as a network's file says."""
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinyq.data.local.csv_rows import Columns, read_rows
from tinyq.data.local.npz import names_in, read_arrays
from tinyq.data.own.named_arrays import X
from tinyq.data.own.own_inputs import AUTO, PLAIN, inputs_of
from tinyq.errors import BadInput, UsageError
from tinyq.saved.attributes import preparation_of, shape_of


def read_samples(path: str | Path, attributes: dict) -> np.ndarray:
    """Return the network's inputs, float32 (n, ...), for all raw samples in a file.

    A table has a column for each input, an archive one array, or one named x. BadInput for samples of another shape,
    UsageError where the network's file does not say how inputs are prepared.
    """
    shape, preparation = shape_of(attributes), preparation_of("the network's file", attributes)
    if preparation is None:
        raise UsageError(f"{path}: the network's file does not say how inputs are prepared")
    raw = _table(path, shape) if not str(path).lower().endswith(".npz") else _array(path, shape)
    if preparation.brightest:
        return preparation.of_pixels(_pixels(raw, preparation.brightest, path), preparation.brightest)
    return preparation.of_features(raw)


def _table(path, shape):
    count = math.prod(shape)

    def every(names: Sequence[str], header: bool) -> Columns:
        if len(names) != count:
            remedy = "leave out the others, such as the label" if len(names) > count else "give all of them"
            raise BadInput(f"{str(path)!r}: has {len(names)} columns, where the network has {count} inputs; {remedy}, "
                           "or measure with --data")
        return Columns(tuple(range(count)), (), tuple(names), header)

    return read_rows(path, "auto", every).inputs.reshape(-1, *shape)


def _array(path, shape):
    names = names_in(path)
    wanted = names if len(names) == 1 else [name for name in names if name.lower() in X]
    if len(wanted) != 1:
        raise BadInput(f"{str(path)!r}: holds {', '.join(map(repr, names[:8])) or 'nothing'}; one array, or one "
                       "named x, is taken for the samples")
    array = read_arrays(path, wanted)[wanted[0]]
    for layout in (AUTO, PLAIN):
        found = inputs_of({"": array}, repr(str(path)), layout)
        if found.shape == shape:
            return found.parts[""]
    if math.prod(array.shape[1:]) == math.prod(shape):
        return array.reshape(-1, *shape)
    raise BadInput(f"{str(path)!r}: samples of shape {array.shape[1:]}, where the network takes {shape}")


def _pixels(raw, brightest, path):
    if raw.min() < 0 or raw.max() > brightest or (raw != np.rint(raw)).any():
        raise BadInput(f"{str(path)!r}: the network takes whole pixels of 0 to {brightest}, and these are others")
    return raw.astype(np.uint16)
