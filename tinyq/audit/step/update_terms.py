"""Split the update of each parameter into its terms, by a transcript of methods/README.md.

    gradient   made by backward; for a constrained weight by the surrogate, from the true gradient
    handed     = clip(gradient + constraint term), given to the optimiser
    stepped    = before + the optimiser's step, made with weight decay and its memory
    after      = projected(stepped)

The transcript shares no code with optim.py and the methods. It does the same float32 operations one by one, so the
result must be the same to the bit. All of them are elementwise, so the transcript of a part of an array is part of it.
"""
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyq.audit.capture.capture import Captured
from tinyq.audit.methods.method_table import audit_of
from tinyq.optim import SGD, Adam, AdamW, Optimizer

Arrays = dict[str, np.ndarray]
TERMS = ("true", "surrogate", "constraint", "clip", "decay", "momentum", "step", "projection")


@dataclass(frozen=True, eq=False)
class TensorUpdate:
    """The update of one parameter.

    terms: arrays of its shape by name, those of TERMS that play a part. faults: results that differ in any bit.
    """

    terms: Arrays
    faults: list[str]


@dataclass(frozen=True, eq=False)
class OptimizerStep:
    """One step of an optimiser on an array: the weight and the memory after it, and every intermediate by name."""

    after: np.ndarray
    memory: dict[str, Any]
    working: Arrays                     # in the order of computing


def updates_of(captured: Captured) -> dict[str, TensorUpdate]:
    """Split the update of every parameter that has a gradient."""
    return {name: _update_of(captured, name) for name in captured.handed}


def norm(array: np.ndarray) -> float:
    """Return the Euclidean norm, computed in float64."""
    return math.sqrt(math.fsum(np.square(array, dtype=np.float64).ravel()))


def cosine(a: np.ndarray, b: np.ndarray) -> float | None:
    """Return the cosine of the angle between two arrays; None where one of them is 0."""
    size = norm(a) * norm(b)
    return math.fsum((a.astype(np.float64) * b).ravel()) / size if size else None


def optimizer_step(kind: type[Optimizer], w: np.ndarray, g: np.ndarray, memory: dict[str, Any],
                   group: dict[str, Any]) -> OptimizerStep:
    """Repeat the step of an optimiser of this class on a weight w with gradient g, or on a part of both."""
    return _STEPS[kind](w, g, memory, group)


def gradients_of(captured: Captured, name: str) -> Arrays:
    """Return the true gradient with respect to the effective weight, and for a latent one the surrogate's."""
    gradient = captured.backpropagated.get(name, np.zeros_like(captured.before[name]))
    quantizer = captured.parametrizations.get(name)
    for application in captured.applications:
        if quantizer is not None and application.inputs[0] is captured.before[name] and 0 in application.vjps:
            scale = np.asarray(quantizer.scale, gradient.dtype).reshape(-1, *[1] * (gradient.ndim - 1))
            return {"true": application.vjps[0][0] / scale, "surrogate": gradient}
    return {"true": gradient}


def _update_of(captured, name):
    w, method_terms = captured.before[name], audit_of(type(captured.phase.method).__name__).update
    gradient = captured.backpropagated.get(name, np.zeros_like(w))
    terms, faults = gradients_of(captured, name), list[str]()
    handed, own = method_terms.handed(captured, name, gradient)
    terms |= own
    _compare(faults, handed, captured.handed[name], "the gradient handed to the optimiser")
    stepped = _stepped(captured, name, method_terms.movable(captured, name))
    terms |= {term: array for term, array in stepped.working.items() if term in TERMS}
    after, own = method_terms.projected(captured, name, stepped.after)
    terms |= own
    terms["step"] = captured.after[name] - w
    _compare(faults, after, captured.after[name], "the weight after the update")
    for key, value in stepped.memory.items():
        _compare(faults, value, captured.memory_after[name].get(key), f"the optimiser's {key}")
    return TensorUpdate(terms, faults)


def _stepped(captured, name, mask):
    """Repeat the optimiser's step; entries outside the mask keep their bits, in the weight and in the memory."""
    w, memory = captured.before[name], captured.memory_before[name]
    done = optimizer_step(type(captured.phase.optimizer), w, captured.handed[name], memory, captured.groups[name])
    if mask is None:
        return done
    old = {key: memory.get(key, np.zeros_like(w)) for key in done.memory}
    new = {key: np.where(mask, value, old[key]) if np.ndim(value) else value for key, value in done.memory.items()}
    return OptimizerStep(np.where(mask, done.after, w), new, done.working)


def _sgd(w, g, memory, group):
    decay, factor, lr = (np.float32(group[key]) for key in ("weight_decay", "momentum", "lr"))
    working = {"decay": decay * w, "decayed": g + decay * w if decay else g}
    direction, new = working["decayed"], {}
    if factor:
        first = "momentum" not in memory
        share = np.float32(1.0 if first else 1 - group["dampening"])
        working["momentum"] = (np.zeros_like(w) if first else memory["momentum"]) * factor
        working["velocity"] = b = working["momentum"] + share * direction
        new, direction = {"momentum": b}, direction + factor * b if group["nesterov"] else b
    working |= {"direction": direction, "change": lr * direction}
    return OptimizerStep(w - working["change"], new, working)


def _adam(w, g, memory, group, decoupled=False):
    (beta1, beta2), lr, decay = group["betas"], float(group["lr"]), group["weight_decay"]
    power1, power2 = (float(memory.get(f"beta{i}_power", 1.0)) * beta for i, beta in ((1, beta1), (2, beta2)))
    mean, square = (memory.get(key, np.zeros_like(w)) for key in ("mean", "square"))
    weight = w * np.float32(1 - lr * decay) if decoupled else w
    slope = g if decoupled or not decay else g + np.float32(decay) * weight
    new_mean = mean + (slope - mean) * np.float32(1 - beta1)
    new_square = square * np.float32(beta2) + slope * slope * np.float32(1 - beta2)
    denominator = np.sqrt(new_square) / np.float32(math.sqrt(1 - power2)) + np.float32(group["eps"])
    change = new_mean / denominator * np.float32(lr / (1 - power1))
    return OptimizerStep(
        weight - change, {"mean": new_mean, "square": new_square, "beta1_power": power1, "beta2_power": power2},
        {"decay": np.float32(decay) * w, **({"shrunk": weight} if decoupled else {"decayed": slope}),
         "momentum": mean * np.float32(beta1), "mean": new_mean, "square": new_square, "denominator": denominator,
         "change": change})


def _adamw(w, g, memory, group):
    return _adam(w, g, memory, group, decoupled=True)


_STEPS: dict[type[Optimizer], Callable[..., OptimizerStep]] = {SGD: _sgd, Adam: _adam, AdamW: _adamw}


def _compare(faults, ours, theirs, what):
    if theirs is None:
        faults.append(f"{what} is not there")
        return
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    wrong = np.flatnonzero((ours != theirs).reshape(-1)) if ours.shape == theirs.shape else np.zeros(1, int)
    if len(wrong):
        at = tuple(int(i) for i in np.unravel_index(wrong[0], ours.shape)) if ours.shape == theirs.shape else ()
        faults.append(f"{what} is {theirs.reshape(-1)[wrong[0]]!s} at {at}, by its terms "
                      f"{ours.reshape(-1)[wrong[0]]!s} ({len(wrong)} of {ours.size} differ)")
