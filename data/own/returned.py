"""Make arrays of what a user's own function returns: arrays by name, pairs of arrays, or samples one by one."""
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tinyq.data.own.assemble import Pairs
from tinyq.data.own.named_arrays import CLASS_NAMES, PARTS, WHOLE, find
from tinyq.errors import BadInput

LARGEST = 1 << 34                       # bytes of the inputs of samples that are collected one by one
FORMS = ("x_train, y_train, x_test and so on in a dict; (x, y); or a list of (x, y), one for each sample; a dict of "
         "train, validation and test may hold these too")


def pairs_of(returned: Any, where: str) -> tuple[Pairs, list | None]:
    """Return ({part: (inputs, targets)}, names of the classes or None); the part is "" where parts are to be held out.

    BadInput, with `where`, for anything but the FORMS. Errors of the user's own objects are left as they are.
    """
    if isinstance(returned, Mapping):
        return _of_dict(returned, where)
    if isinstance(returned, tuple | list) and len(returned) == 2 and all(map(_is_pair, returned)):
        train, test = returned                                              # as Keras' datasets have them
        return {"train": _pair(train, where), "test": _pair(test, where)}, None
    return {WHOLE: _pair(returned, where)}, None


def _of_dict(found: Mapping, where: str) -> tuple[Pairs, list | None]:
    names = {str(name).lower(): value for name, value in found.items()}
    classes = names.pop(CLASS_NAMES, None)
    classes = None if classes is None else list(classes)
    parts = {part: names[word] for part, words in PARTS.items() for word in words if word in names}
    if len(parts) == len(names) and parts:
        return {part: _pair(value, f"{where}: {part}") for part, value in parts.items()}, classes
    named = find([str(name) for name in found if str(name).lower() != CLASS_NAMES], where)
    if named.others:
        raise BadInput(f"{where}: returned {named.others[0]!r}, which is no name of inputs or targets")
    return {part: (_array(found[x]), _array(found[y])) for part, (x, y) in named.parts.items()}, classes


def _is_pair(value):
    return isinstance(value, tuple | list) and len(value) == 2 and all(_is_batch(v) for v in value)


def _is_batch(value):
    """Return True for an array of samples, rather than one sample of a list."""
    return hasattr(value, "shape") and len(value.shape) > 0 or isinstance(value, list) and len(value) > 2


def _pair(value, where):
    """Return (inputs, targets) of a pair of arrays, or of samples that are (x, y) each."""
    if _is_pair(value):
        return _array(value[0]), _array(value[1])
    if isinstance(value, np.ndarray) or not hasattr(value, "__len__"):
        what = "one array" if isinstance(value, np.ndarray) else f"a {type(value).__name__} without a length"
        raise BadInput(f"{where}: returned {what}; return {FORMS}")
    return _collected(value, where)


def _collected(source, where):
    """Read all samples of an indexable, or of an iterable with a length, into arrays."""
    count, inputs = len(source), None
    targets: list[np.ndarray] = []
    for k, sample in enumerate(_samples(source, count)):
        if k == count:
            raise BadInput(f"{where}: has a length of {count}, and gives more samples")
        if not isinstance(sample, tuple | list) or len(sample) != 2:
            raise BadInput(f"{where}: sample {k} is a {type(sample).__name__}, not a pair of input and target; return "
                           f"{FORMS}")
        x, y = _array(sample[0]), _array(sample[1])
        if inputs is None:
            if count * x.nbytes > LARGEST:
                raise BadInput(f"{where}: {count:,} samples of {x.nbytes:,} bytes are over the limit of {LARGEST:,}")
            inputs = np.empty((count, *x.shape), x.dtype)
        if x.shape != inputs.shape[1:] or x.dtype != inputs.dtype:
            raise BadInput(f"{where}: sample {k} is {x.dtype} {x.shape}, sample 0 {inputs.dtype} {inputs.shape[1:]}; "
                           "they must be alike")
        if targets and (y.shape != targets[0].shape or y.dtype.kind != targets[0].dtype.kind):
            raise BadInput(f"{where}: the target of sample {k} is {y.dtype} {y.shape}, that of sample 0 "
                           f"{targets[0].dtype} {targets[0].shape}; they must be alike")
        inputs[k] = x
        targets.append(y)
    if len(targets) < count or inputs is None:
        raise BadInput(f"{where}: has a length of {count}, and gives {len(targets)} samples")
    return inputs, np.array(targets)


def _samples(source: Any, count: int) -> Iterator[Any]:
    return (source[k] for k in range(count)) if hasattr(source, "__getitem__") else iter(source)


def _array(value):
    return np.asarray(value)
