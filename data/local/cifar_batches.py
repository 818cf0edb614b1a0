"""Read the batches of CIFAR-10's Python version, which are pickles, without running any of their code."""
from collections.abc import Mapping

import numpy as np

from tinyq.errors import BadInput
from tinyq.files.foreign.numpy_pickles import NUMPY, Array
from tinyq.files.foreign.pickle_texts import Unreadable
from tinyq.files.foreign.pickles import Interpreter


def read_batch(data: bytes, name: str, count: int, numbers: int) -> np.ndarray:
    """Return (count, 1 + numbers) uint8: each row a label, then the red, green and blue plane, as the binary version.

    BadInput, with `name`, unless the pickle is a dict with "data" (count, numbers) uint8 and as many "labels".
    """
    try:
        found = Interpreter(data, NUMPY).load()
    except Unreadable as error:
        raise BadInput(f"{name}: not readable as a batch of CIFAR-10's Python version: {error}") from error
    held = {_text(key): value for key, value in found.items()} if isinstance(found, dict) else {}
    pixels, labels = _pixels(held), _labels(held)
    if pixels is None or pixels.shape != (count, numbers) or labels is None or len(labels) != count:
        raise BadInput(f"{name}: not a batch of {count:,} images of CIFAR-10's Python version; it is damaged, or of "
                       "another dataset")
    return np.concatenate([labels[:, None], pixels], axis=1)


def _text(key):
    return key.decode("latin-1") if isinstance(key, bytes) else key


def _pixels(held: Mapping) -> np.ndarray | None:
    data = held.get("data")
    values = data.values if isinstance(data, Array) else None
    return values if values is not None and values.dtype == np.uint8 else None


def _labels(held: Mapping) -> np.ndarray | None:
    labels = held.get("labels")
    if not isinstance(labels, list) or not all(type(label) is int and 0 <= label <= 255 for label in labels):
        return None
    return np.array(labels, np.uint8)
