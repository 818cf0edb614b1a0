"""The update of one weight in float32, operation by operation, with what each step of it made."""
from dataclasses import dataclass

import numpy as np

from tinyq.audit.capture.capture import Captured
from tinyq.audit.explain.one_weight import OneWeight
from tinyq.audit.methods.method_table import audit_of
from tinyq.audit.step.update_terms import optimizer_step

# Names of an optimiser's intermediates (update_terms.OptimizerStep.working).
MEANINGS = {
    "decay": "weight decay * weight", "decayed": "gradient + weight decay * weight",
    "shrunk": "weight * (1 - learning rate * weight decay)", "momentum": "momentum * memory before",
    "velocity": "memory after", "direction": "direction",
    "mean": "first moment after", "square": "second moment after",
    "denominator": "sqrt of the corrected second moment + eps", "change": "change"}


# Hyper-parameters of an optimiser's group that are shown before the update.
SHOWN = {"lr": "learning rate", "momentum": "momentum", "weight_decay": "weight decay", "betas": "betas", "eps": "eps",
         "nesterov": "nesterov"}


@dataclass(frozen=True)
class OneUpdate:
    """The update of one weight.

    settings: (name, value) of the optimiser's group. lines: (name, value) in the order of computing. exact: they lead
    to the weight after the step, bit for bit.
    """

    settings: list[tuple[str, object]]
    lines: list[tuple[str, np.float32]]
    exact: bool


def update_of(captured: Captured, weight: OneWeight) -> OneUpdate:
    """Recombine the update of one weight that has a gradient."""
    name, index, own = weight.name, weight.index, audit_of(type(captured.phase.method).__name__).update
    here = tuple(slice(i, i + 1) for i in index)
    w, gradient = captured.before[name], captured.backpropagated.get(name, np.zeros_like(captured.before[name]))
    handed, terms = own.handed(captured, name, gradient)
    lines = [("gradient", gradient[index]), *((term, array[index]) for term, array in terms.items()),
             ("gradient for the optimiser", handed[index])]
    memory = {key: value[here] if np.ndim(value) else value for key, value in captured.memory_before[name].items()}
    done = optimizer_step(type(captured.phase.optimizer), w[here], handed[here], memory, captured.groups[name])
    lines += [(MEANINGS[key], array.reshape(-1)[0]) for key, array in done.working.items()]
    movable, stepped = own.movable(captured, name), w.copy()
    stepped[here] = done.after
    if movable is not None and not movable[index]:
        stepped[here] = w[here]
        lines.append(("frozen: the step is not taken", w[index]))
    after, terms = own.projected(captured, name, stepped)
    lines += [("before", w[index]), ("before - change", stepped[index]),
              *((term, array[index]) for term, array in terms.items()), ("after", after[index])]
    exact = after[index].tobytes() == captured.after[name][index].tobytes()
    settings = [(text, captured.groups[name][key]) for key, text in SHOWN.items() if key in captured.groups[name]]
    return OneUpdate(settings, lines, exact and handed[index].tobytes() == captured.handed[name][index].tobytes())
