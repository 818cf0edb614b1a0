"""Make the loss that settings name, for the targets that the data have."""
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinyq.autodiff import Tensor
from tinyq.errors import BadInput, UsageError
from tinyq.inputs.targets import CLASSES
from tinyq.tasks.loss import BinaryCrossEntropy, CrossEntropy, Function, Loss, MeanSquaredError, OwnLoss, classes_of
from tinyq.tasks.task import BCE, CROSS_ENTROPY, LOSS_NAMES, MSE, task_of

BALANCED = "balanced"
LOSSES: dict[str, Function] = {}                    # of plug-ins: functions of (outputs, y)
TRIED = 2                                           # samples that a user's own loss is tried on
SUM_OF_PROBABILITIES = 1e-3                         # how far from 1 it may be


def make_loss(settings: Mapping[str, Any], targets: str, outputs: int, labels: Mapping[str, np.ndarray],
              function: Function | None = None) -> Loss:
    """Make the loss of settings for targets of a kind and a network of so many outputs.

    settings: loss, and where they are set label_smoothing, class_weights (numbers with commas between them, or
    "balanced", by the training samples) and ignore_index. labels: the targets of each split that is there. function: of
    a user's own loss, which is tried on zeros. UsageError for options that do not fit and for an own loss that fails,
    BadInput for targets that do not fit.
    """
    name, ignored, weights = (settings.get(key) for key in ("loss", "ignore_index", "class_weights"))
    smoothing, task = settings.get("label_smoothing") or 0.0, task_of(str(name), targets)
    if ignored is not None and targets != CLASSES:
        raise UsageError(f"ignore_index {ignored}: these targets are {targets}; only a class can be ignored")
    if ignored is not None and not 0 <= ignored < outputs and "train" in labels and not any(
            (np.asarray(y) == ignored).any() for y in labels.values()):
        raise UsageError(f"ignore_index {ignored}: no sample has this class; they are counted from 0 to {outputs - 1}")
    if smoothing and name != CROSS_ENTROPY:
        raise UsageError(f"label_smoothing {smoothing}: has no effect with loss {name}; only {CROSS_ENTROPY} has it")
    if weights is not None and name not in (CROSS_ENTROPY, BCE):
        raise UsageError(f"class_weights {weights}: have no effect with loss {name}; only {CROSS_ENTROPY} and {BCE} "
                         "have them")
    factors = None if weights is None else _weights(weights, targets, outputs, labels.get("train"), ignored)
    loss: Loss
    match name:
        case "cross-entropy":
            loss = CrossEntropy(task, ignored, smoothing, factors)
        case "mse":
            loss = MeanSquaredError(task, ignored)
        case "bce":
            loss = BinaryCrossEntropy(task, ignored, factors)
        case _:
            loss = OwnLoss(task, ignored, LOSSES[str(name)] if function is None else function)
            y = next(iter(labels.values()))[:TRIED]
            loss(Tensor(np.zeros((len(y), outputs), np.float32), requires_grad=True), y)
    check_targets(loss, outputs, labels)
    return loss


def loss_of_file(attributes: Mapping[str, Any], outputs: int, labels: Mapping[str, np.ndarray],
                 function: Function | None = None) -> tuple[Loss, bool]:
    """Return (the loss that a network's file names, True); labels and function: as for make_loss.

    Of a loss that is code, of a plug-in's that is not there, and of weights balanced by training samples that are not
    there, the file alone gives no value: (a loss that serves the same task, False). BadInput for options that do not
    fit.
    """
    name = attributes.get("loss", CROSS_ENTROPY)
    targets = attributes.get("targets", CLASSES)
    is_there = name in LOSS_NAMES or function is not None or name in LOSSES
    known = is_there and (attributes.get("class_weights") != BALANCED or "train" in labels)
    settings = {**attributes, "loss": name, "label_smoothing": 0.0} | ({} if known else {"class_weights": None})
    try:
        return make_loss(settings, targets, outputs, labels, function if is_there else _nothing), known
    except UsageError as error:
        raise BadInput(f"the loss that the file names cannot be measured: {error}") from error


def _nothing(outputs, y):
    return outputs.sum() * 0.0


def check_targets(loss: Loss, outputs: int, labels: Mapping[str, np.ndarray]) -> None:
    """Raise BadInput, naming the first sample, where the targets of a split do not fit the loss.

    labels: by split. Probabilities are not below 0 and sum to 1, several labels lie between 0 and 1, and nothing
    but finite numbers is predicted.
    """
    for split, y in labels.items():
        if not loss.size(y):
            raise BadInput(f"loss: not one of the {len(y)} samples of {split} counts; ignore another class, or give "
                           "their classes a weight above 0")
        if y.ndim == 1 and y.dtype.kind in "iu":
            continue
        table = y.reshape(len(y), -1).astype(np.float64)
        wrong, rule = ~np.isfinite(table).all(axis=1), "must be finite"
        if table.shape[1] != outputs:
            raise BadInput(f"loss: a target of {split} has {table.shape[1]} numbers, but the network has {outputs} "
                           "outputs")
        if isinstance(loss, CrossEntropy):
            sums = np.abs(table.sum(axis=1) - 1) > SUM_OF_PROBABILITIES
            wrong, rule = wrong | (table < 0).any(axis=1) | sums, (
                "must be probabilities of the classes, from 0 up and with the sum 1; for other numbers choose the loss "
                f"{MSE}, for several labels {BCE}")
        elif isinstance(loss, BinaryCrossEntropy):
            wrong, rule = wrong | ((table < 0) | (table > 1)).any(axis=1), (
                f"must lie between 0 and 1; for other numbers choose the loss {MSE}")
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            raise BadInput(f"loss: the target of sample {at} of {split} is {_few(table[at])}, but targets {rule}")


def balanced(labels: np.ndarray, classes: int, ignore_index: int | None = None) -> tuple[float, ...]:
    """Return samples / (classes * samples of the class) of each class, 0 for one without samples."""
    counted = classes_of(labels)
    counted = counted[counted != ignore_index] if ignore_index is not None else counted
    counts = np.bincount(counted, minlength=classes)
    return tuple(len(counted) / (classes * count) if count else 0.0 for count in counts.tolist())


def _weights(text: str, targets: str, outputs: int, labels: np.ndarray | None,
             ignore_index: int | None) -> tuple[float, ...]:
    if text == BALANCED:
        if targets != CLASSES or labels is None:
            raise UsageError(f"class_weights {BALANCED}: these targets are {targets}; give numbers, one per output")
        return balanced(labels, outputs, ignore_index)
    try:
        weights = tuple(float(part) for part in text.split(","))
    except ValueError:
        weights = ()
    if len(weights) != outputs or not all(0 <= weight < np.inf for weight in weights) or not any(weights):
        of, balance = ("class", f"; or {BALANCED}") if targets == CLASSES else ("label", "")
        raise UsageError(f"class_weights {text}: give {outputs} numbers from 0 up, one per {of}, such as "
                         f"{','.join(['1'] * min(outputs, 4))}{',...' if outputs > 4 else ''}{balance}")
    return weights


def _few(numbers):
    shown = ", ".join(f"{number:g}" for number in numbers[:4].tolist())
    return shown + (", ..." if len(numbers) > 4 else "")
