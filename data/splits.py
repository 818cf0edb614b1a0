"""Split samples into training, validation and test, in the same way for every run and seed."""
import numpy as np

from tinyq.errors import BadInput
from tinyq.streams import Streams


def hold_out_last(samples: int, held_out: int, what: str) -> tuple[slice, slice]:
    """Return two slices: the training part, and the last `held_out` samples for validation."""
    if not 0 <= held_out < samples:
        raise BadInput(f"{what}: cannot hold out {held_out} of its {samples} training samples; "
                       "give a smaller number, or 0 to train on all")
    return slice(0, samples - held_out), slice(samples - held_out, samples)


def keyed_parts(name: str, split: int, samples: int, test: int, validation: int) -> dict[str, np.ndarray]:
    """Split a set of samples at random, determined by (name, split); return the ascending indices of each part.

    The test part does not depend on `validation`; a part without samples is left out.
    """
    order = Streams(0).key("split", name, split).permutation(samples)
    training, validating = hold_out_last(samples - test, validation, name)
    rest = order[test:]
    parts = {"train": rest[training], "validation": rest[validating], "test": order[:test]}
    return {part: np.sort(indices) for part, indices in parts.items() if len(indices)}


def classes_in_turn(labels: np.ndarray) -> np.ndarray:
    """Return an order of the samples whose last n are spread evenly over the classes, the last ones of each class."""
    labels = np.asarray(labels)
    from_end = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        from_end[members] = np.arange(len(members))[::-1]
    return np.lexsort((labels, from_end))[::-1]


def check_labels(labels: np.ndarray, num_classes: int, what: str) -> np.ndarray:
    """Return the labels as int64; BadInput names the first that is not a class."""
    labels = np.asarray(labels).astype(np.int64)
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if wrong.size:
        raise BadInput(f"{what}: label {labels[wrong[0]]} of sample {wrong[0]} is outside 0 ... {num_classes - 1}; "
                       "the file is damaged or of another dataset")
    return labels
