"""Turn the labels of a user's own data into classes, numbers or several labels each; what they are is recorded."""
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinyq.errors import BadInput, UsageError, did_you_mean
from tinyq.inputs.targets import CLASSES, KINDS, LABELS, NUMBERS

AUTO = "auto"
NAME_BYTES = 40_000                     # of all names, each as long as the longest: what an attribute of a file holds
FARTHEST = 1 << 53                      # largest float that is a class: above it not every whole number is one
MOST = 4096                             # classes, or numbers per sample: all are named in the network's file
Arrays = Mapping[str, np.ndarray]       # by part


@dataclass(frozen=True, eq=False)
class Targets:
    """Targets of every part: (samples,) int64 classes, or float32 (samples, *shape) numbers or labels of 0 and 1."""

    kind: str
    names: tuple[str, ...]              # of the classes, the labels or the numbers
    shape: tuple[int, ...]              # of one sample
    parts: dict[str, np.ndarray]


def check_kind(kind: str) -> None:
    """Raise UsageError, with the nearest, for another kind than auto, classes, numbers and labels."""
    if kind not in (AUTO, *KINDS):
        raise UsageError(f"targets {kind!r}: {did_you_mean(kind, (AUTO, *KINDS))}")


def targets_of(parts: Arrays, where: str, kind: str = AUTO, names: Sequence[str] | None = None) -> Targets:
    """Convert the targets of all parts, which share names and shape.

    kind: of tinyq.inputs.targets.KINDS, or auto: texts and whole numbers are classes; a matrix of 0 and 1 holds
    labels, or classes where each row has a single 1; other arrays are numbers. BadInput for what they cannot be.
    """
    check_kind(kind)
    _check_alike(parts, where)
    everything = np.concatenate([array.reshape(len(array), -1) for array in parts.values()])
    kind = _kind_of(parts, everything) if kind == AUTO else kind
    convert = {CLASSES: _classes, NUMBERS: _numbers, LABELS: _labels}[kind]
    made, found, shape = convert(parts, everything, where, names)
    longest = max(len(json.dumps(name)) for name in found)
    if longest * len(found) > NAME_BYTES:
        raise BadInput(f"{where}: {len(found):,} names of up to {longest:,} bytes, over the limit of {NAME_BYTES:,} "
                       "bytes in all; shorten them, or give numbers")
    return Targets(kind, found, shape, made)


def _check_alike(parts, where):
    first, *others = parts
    for part in others:
        if parts[part].shape[1:] != parts[first].shape[1:] or (
                (parts[part].dtype.kind == "U") != (parts[first].dtype.kind == "U")):
            raise BadInput(f"{where}: the targets of {first} are {_of(parts[first])}, those of {part} "
                           f"{_of(parts[part])}; they must be alike")
    for part, array in parts.items():
        if array.dtype.kind not in "biufU":
            raise BadInput(f"{where}: the targets{_in(part)} are {_of(array)}; they must be numbers or texts")


def _in(part):
    return f" of {part}" if part else ""


def _of(array):
    return f"{array.dtype} {array.shape[1:] or 'numbers'}"


def _kind_of(parts, everything):
    dtypes = {array.dtype.kind for array in parts.values()}
    if everything.shape[1] == 1:
        return NUMBERS if "f" in dtypes else CLASSES
    if next(iter(parts.values())).ndim == 2 and everything.dtype.kind != "U" and _is_binary(everything):
        return CLASSES if ((everything != 0).sum(axis=1) == 1).all() else LABELS
    return NUMBERS


def _is_binary(values):
    return bool(((values == 0) | (values == 1)).all())


def _classes(parts, everything, where, names):
    if everything.shape[1] > 1:
        return _one_hot(parts, everything, where, names)
    values = everything[:, 0].astype(np.int64) if everything.dtype.kind == "b" else everything[:, 0]
    if values.dtype.kind == "f":
        if not np.isfinite(values).all() or (values != np.rint(values)).any():
            raise BadInput(f"{where}: the targets have fractions, so they are no classes; they may be numbers")
        if (np.abs(values) > FARTHEST).any():
            raise BadInput(f"{where}: the target {np.abs(values).max():g} is too large for a class; it may be a number")
        values = values.astype(np.int64)
    known, index = np.unique(values, return_inverse=True)
    if names is not None:
        return _listed(parts, known, values, where, names)
    if len(known) < 2:
        raise BadInput(f"{where}: all samples are of one class, {known[0]!s}; there is nothing to learn")
    if len(known) > MOST or len(known) > max(2, len(values) // 2):
        raise BadInput(f"{where}: {len(known):,} classes for {len(values):,} samples; if they are to be "
                       "predicted as numbers, set targets = numbers")
    return _cut(parts, index.reshape(-1).astype(np.int64)), tuple(map(_name, known)), ()


def _listed(parts, known, values, where, names):
    """Return classes of which a list gives the names in order: of texts in it, or of whole numbers from 0."""
    names = tuple(map(_name, names))
    if len(set(names)) < len(names) or not 2 <= len(names) <= MOST:
        raise BadInput(f"{where}: class_names must be 2 to {MOST:,} different names")
    order = {name: k for k, name in enumerate(names)} if known.dtype.kind == "U" else {k: k for k in range(len(names))}
    foreign = [value for value in known.tolist() if value not in order]
    if foreign:
        raise BadInput(f"{where}: the label {foreign[0]!r} is none of the {len(names)} in class_names")
    return _cut(parts, np.array([order[value] for value in values.tolist()], np.int64)), names, ()


def _one_hot(parts, everything, where, names):
    if everything.dtype.kind == "U" or not _is_binary(everything) or ((everything != 0).sum(axis=1) != 1).any():
        raise BadInput(f"{where}: the targets have {everything.shape[1]} values per sample, and not a single 1 among "
                       "zeros; classes have one value per sample")
    _check_count(everything.shape[1], where)
    return _cut(parts, everything.argmax(axis=1)), _names(names, everything.shape[1], where), ()


def _numbers(parts, everything, where, names):
    if everything.dtype.kind == "U":
        raise BadInput(f"{where}: the target {str(everything.reshape(-1)[0])!r} is no number")
    _check_count(everything.shape[1], where)
    made = {}
    for part, array in parts.items():
        with np.errstate(over="ignore"):
            made[part] = np.ascontiguousarray(array[:, None] if array.ndim == 1 else array, np.float32)
        wrong = np.argwhere(~np.isfinite(made[part]))
        if len(wrong):
            raise BadInput(f"{where}: the target of sample {wrong[0][0]}{_in(part)} is "
                           f"{array.reshape(len(array), -1)[wrong[0][0]].tolist()}, not finite in float32")
    return made, _names(names, everything.shape[1], where), next(iter(made.values())).shape[1:]


def _labels(parts, everything, where, names):
    if everything.dtype.kind == "U" or not _is_binary(everything):
        raise BadInput(f"{where}: several labels per sample are a matrix of 0 and 1; the targets have other values")
    _check_count(everything.shape[1], where)
    made = {part: np.ascontiguousarray(array.reshape(len(array), -1), np.float32) for part, array in parts.items()}
    return made, _names(names, everything.shape[1], where), everything.shape[1:]


def _names(names, count, where):
    if names is not None and len(names) != count:
        raise BadInput(f"{where}: {len(names)} names for {count} targets")
    return tuple(map(_name, range(count) if names is None else names))


def _name(value):
    return str(value)


def _check_count(count, where):
    if not 0 < count <= MOST:
        raise BadInput(f"{where}: {count:,} targets per sample; there must be 1 to {MOST:,}")


def _cut(parts, values):
    """Cut the values of all samples into parts again."""
    ends = np.cumsum([len(array) for array in parts.values()])[:-1]
    return dict(zip(parts, np.split(values, ends), strict=True))
