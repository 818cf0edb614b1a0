"""The update of each parameter in its terms, recomputed by a transcript of methods/README.md.

    gradient   what the vjps brought: for a constrained weight, what the surrogate made of the true gradient
    handed     = clip(gradient + constraint term), which the optimiser was given
    step       the optimiser's, with weight decay and momentum, from its memory before
    after      = projected(before + step)

The transcript shares no code with optim.py and the methods; its float32 operations are theirs one for one, so that the
result must be the same to the bit.
"""
import math
from dataclasses import dataclass

import numpy as np

from tinyq.audit.methods.method_table import audit_of


@dataclass(frozen=True, eq=False)
class Parts:
    """The update of one parameter; arrays of its shape, those that play no part are left out of `named`."""

    named: dict[str, np.ndarray]        # true, surrogate, constraint, clip, decay, momentum, step, projection
    faults: list[str]                   # what does not come out to the bit


def parts_of(captured) -> dict[str, Parts]:
    """The Parts of every parameter that has a gradient."""
    return {name: _parts(captured, name) for name in captured.handed}


def norm(array) -> float:
    """The Euclidean norm, float64."""
    return math.sqrt(math.fsum(np.square(array, dtype=np.float64).ravel()))


def cosine(a, b) -> float | None:
    """The cosine of the angle between two arrays; None where one of them is 0."""
    size = norm(a) * norm(b)
    return math.fsum((a.astype(np.float64) * b).ravel()) / size if size else None


def _parts(captured, name):
    w, method_terms = captured.before[name], audit_of(type(captured.phase.method).__name__).update
    gradient = captured.backpropagated.get(name, np.zeros_like(w))
    named, faults = _through_the_surrogate(captured, name, gradient), list[str]()
    handed, terms = method_terms.handed(captured, name, gradient)
    named |= terms
    _compare(faults, handed, captured.handed[name], "the gradient handed to the optimiser")
    stepped, memory, terms = _updated(captured, name, captured.handed[name], method_terms.movable(captured, name))
    named |= terms
    after, terms = method_terms.projected(captured, name, stepped)
    named |= terms
    named["step"] = captured.after[name] - w
    _compare(faults, after, captured.after[name], "the weight after the update")
    for key, value in memory.items():
        _compare(faults, value, captured.memory_after[name].get(key), f"the optimiser's {key}")
    return Parts(named, faults)


def _through_the_surrogate(captured, name, gradient):
    """The true gradient with respect to the effective weight, and what reached the latent."""
    quantizer = captured.views.get(name)
    for application in captured.applications if quantizer is not None else ():
        if application.inputs[0] is captured.before[name] and 0 in application.vjps:
            scale = np.asarray(quantizer.scale, gradient.dtype).reshape(-1, *[1] * (gradient.ndim - 1))
            return {"true": application.vjps[0][0] / scale, "surrogate": gradient}
    return {"true": gradient}


def _updated(captured, name, g, mask):
    """(weight, memory, pieces) after the optimiser's update; entries outside the mask stay as they are."""
    w, group = captured.before[name], captured.groups[name]
    memory = captured.memory_before[name]
    stepped, new, pieces = (_adam if "betas" in group else _sgd)(w, g, memory, group, captured.phase.optimizer)
    if mask is None:
        return stepped, new, pieces
    old = {key: memory.get(key, np.zeros_like(w)) for key in new}
    new = {key: np.where(mask, value, old[key]) if np.ndim(value) else value for key, value in new.items()}
    return np.where(mask, stepped, w), new, pieces


def _sgd(w, g, memory, group, _):
    decay, factor, lr = (np.float32(group[key]) for key in ("weight_decay", "momentum", "lr"))
    step = g + decay * w if decay else g
    pieces = {"decay": decay * w}
    if not factor:
        return w - lr * step, {}, pieces
    first = "momentum" not in memory
    share = np.float32(1.0 if first else 1 - group["dampening"])
    pieces["momentum"] = (np.zeros_like(w) if first else memory["momentum"]) * factor
    b = pieces["momentum"] + share * step
    return w - lr * (step + factor * b if group["nesterov"] else b), {"momentum": b}, pieces


def _adam(w, g, memory, group, optimizer):
    (beta1, beta2), lr, decay = group["betas"], float(group["lr"]), group["weight_decay"]
    power1, power2 = (float(memory.get(f"beta{i}_power", 1.0)) * beta for i, beta in ((1, beta1), (2, beta2)))
    mean, square = (memory.get(key, np.zeros_like(w)) for key in ("mean", "square"))
    weight = w * np.float32(1 - lr * decay) if optimizer.decoupled else w
    slope = g if optimizer.decoupled or not decay else g + np.float32(decay) * weight
    new_mean = mean + (slope - mean) * np.float32(1 - beta1)
    new_square = square * np.float32(beta2) + slope * slope * np.float32(1 - beta2)
    denominator = np.sqrt(new_square) / np.float32(math.sqrt(1 - power2)) + np.float32(group["eps"])
    after = weight - new_mean / denominator * np.float32(lr / (1 - power1))
    return after, {"mean": new_mean, "square": new_square, "beta1_power": power1, "beta2_power": power2}, {
        "decay": np.float32(decay) * w, "momentum": mean * np.float32(beta1)}


def _compare(faults, ours, theirs, what):
    if theirs is None:
        faults.append(f"{what} is not there")
        return
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    wrong = np.flatnonzero((ours != theirs).reshape(-1)) if ours.shape == theirs.shape else np.zeros(1, int)
    if len(wrong):
        at = tuple(int(i) for i in np.unravel_index(wrong[0], ours.shape)) if ours.shape == theirs.shape else ()
        faults.append(f"{what} is {theirs.reshape(-1)[wrong[0]]!s} at {at}, by its parts "
                      f"{ours.reshape(-1)[wrong[0]]!s} ({len(wrong)} of {ours.size} differ)")
