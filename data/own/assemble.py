"""Make a bundle of a user's own arrays: parts held out, targets and inputs converted, mean and std measured."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinyq.data.bundle import DataBundle, make_bundle
from tinyq.data.datasets import Dataset, ImageArray, Numbers
from tinyq.data.own import normalisation, own_inputs, own_targets
from tinyq.data.own.named_arrays import WHOLE
from tinyq.data.own.own_inputs import Inputs, inputs_of
from tinyq.data.own.own_targets import Targets, targets_of
from tinyq.data.splits import keyed_parts
from tinyq.errors import BadInput, UsageError
from tinyq.inputs.preparation import Preparation
from tinyq.inputs.targets import CLASSES

TEST, VALIDATION = 5, 10                # one in so many samples is held out by default
Pairs = Mapping[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Choices:
    """Options of every reader of a user's own data; README.md of this package's parent explains them."""

    split: int = 0
    test: int | None = None
    validation: int | None = None
    targets: str = own_targets.AUTO
    layout: str = own_inputs.AUTO
    brightest: int = 0
    whole: bool = False
    padding: int = 0
    flip: bool = False


def bundle_of(name: str, where: str, pairs: Pairs, choices: Choices, names: Sequence[str] | None = None,
              **facts: object) -> DataBundle:
    """Bundle {part: (inputs, targets)}, or {"": (inputs, targets)} of samples that are still to be divided.

    name: of the reader; where: of messages; names: of the classes or targets; facts: for the manifest. BadInput for
    arrays that cannot be trained on, UsageError for options that do not fit them.
    """
    own_targets.check_kind(choices.targets)
    own_inputs.check_layout(choices.layout)
    for part, (x, y) in pairs.items():
        if x.ndim == 0 or y.ndim == 0 or len(x) != len(y) or not len(x):
            raise BadInput(f"{where}: {f'{part} has ' if part else ''}{_count(x)} inputs and {_count(y)} targets; "
                           "there must be a target for each input, and at least one")
    found_x = inputs_of({part: x for part, (x, _) in pairs.items()}, where, choices.layout, choices.brightest)
    found_y = targets_of({part: y for part, (_, y) in pairs.items()}, where, choices.targets, names)
    parts = _parts(pairs, choices, where)
    how = _preparation(found_x, parts, choices)
    splits = {part: _dataset(found_x, found_y, origin, chosen, how, choices)
              for part, (origin, chosen) in sorted(parts.items())}
    said = {} if found_y.kind == CLASSES else {"targets": found_y.kind, "target_shape": list(found_y.shape)}
    return make_bundle(name, splits, found_x.shape, found_y.names, split=choices.split, layout=found_x.layout,
                       **said, **how.facts(), **facts)


def _count(array):
    return f"{len(array):,}" if array.ndim else "no"


def _parts(pairs, choices, where):
    """Return {part: (part of the arrays, indices in it, None for all)}."""
    if "test" in pairs and choices.test is not None:
        raise UsageError(f"test: {where} has a test part of its own; leave the number out")
    if "validation" in pairs and choices.validation:
        raise UsageError(f"validation: {where} has a validation part of its own; leave the number out")
    whole = WHOLE in pairs
    origin = WHOLE if whole else "train"
    parts: dict[str, tuple[str, np.ndarray | None]] = {part: (part, None) for part in pairs if part != origin}
    if origin not in pairs:
        return parts
    count = len(pairs[origin][1])
    test = choices.test if choices.test is not None else count // TEST if whole else 0
    validation = choices.validation
    if validation is None:
        validation = 0 if "validation" in pairs else max(0, count - test) // VALIDATION
    if test >= count:
        raise BadInput(f"{where}: cannot hold out {test} of its {count} samples for the test; give a smaller number")
    held = keyed_parts("own", choices.split, count, test, validation) if test or validation else {origin: None}
    return parts | {part or "train": (origin, chosen) for part, chosen in held.items()}


def _preparation(found: Inputs, parts, choices: Choices) -> Preparation:
    """Return how the inputs are prepared: whole, or by mean and std of the training part."""
    divisor = found.brightest or 1
    if choices.whole:
        return Preparation((0.0,), (1.0,), _whole_divisor(found), found.brightest)
    origin, chosen = parts.get("train", next(iter(parts.values())))
    values = found.parts[origin]
    mean, std = normalisation.measured(values if chosen is None else values[chosen], divisor)
    return Preparation(mean, std, divisor, found.brightest)


def _whole_divisor(found):
    """Return the power of two from all values up, by which whole numbers are divided exactly."""
    if any(array.dtype.kind == "f" and (array != np.rint(array)).any() for array in found.parts.values()):
        raise UsageError("whole: the inputs are no whole numbers; leave it out")
    largest = found.brightest or max(int(np.abs(array).max()) for array in found.parts.values())
    divisor = 1 << (largest - 1).bit_length()
    if divisor > 1 << 16:
        raise UsageError(f"whole: the inputs reach to {largest:,}, above 65,535; leave it out")
    return divisor


def _dataset(x: Inputs, y: Targets, origin: str, chosen: np.ndarray | None, how: Preparation,
             choices: Choices) -> Dataset:
    values, labels = x.parts[origin], y.parts[origin]
    if chosen is not None:
        values, labels = values[chosen], labels[chosen]
    if x.brightest:
        return ImageArray(values, labels, how.mean, how.std, how.divisor, choices.padding, choices.flip,
                          brightest=how.brightest)
    if choices.padding or choices.flip:
        raise UsageError(f"{'padding' if choices.padding else 'flip'}: the inputs are numbers, not pictures of whole "
                         "pixels; leave it out")
    return Numbers(values, labels, how)
