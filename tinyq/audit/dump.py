"""Every array of a captured step, as one HDF5 file."""
import copy
from pathlib import Path

import numpy as np

from tinyq import nn
from tinyq.audit.parts import parts_of
from tinyq.autodiff import Tensor, tape
from tinyq.files import hdf5
from tinyq.files.atomic import make_folder
from tinyq.methods import GradientMethod

PARTS_OF_AN_UPDATE = 5                  # arrays of a parameter's shape, on average of the methods


def arrays_of(captured) -> dict[str, np.ndarray]:
    """{path: array}: input, what primitives and pulls made, gradients, the update's parts, visits, state around it."""
    found = {}
    for i, batch in enumerate(captured.batches):
        found |= {f"input/{i}/x": batch.x, f"input/{i}/labels": batch.y, f"input/{i}/samples": batch.indices}
    for i, application in enumerate(captured.applications):
        group = f"primitives/{i:03d} {application.name}"
        found[f"{group}/output"] = application.output
        found |= {f"{group}/gradient {position}": gx for position, (_, gx) in application.pulls.items()}
    for when, state, memory in (("before", captured.before, captured.memory_before),
                                ("after", captured.after, captured.memory_after)):
        found |= {f"{when}/weights/{name}": array for name, array in state.items()}
        found |= {f"{when}/optimizer/{name}/{key}": np.asarray(value) for name, kept in memory.items()
                  for key, value in kept.items()}
    if isinstance(captured.phase.method, GradientMethod):
        found |= {f"gradients/{name}": array for name, array in captured.handed.items()}
        found |= {f"update/{part}/{name}": array for name, parts in parts_of(captured).items()
                  for part, array in parts.named.items()}
    visited = getattr(captured.phase.method, "visited_", None)          # of a method without gradients
    return found | ({} if visited is None else {f"visits/{name}": np.asarray(value)
                                                for name, value in visited._asdict().items()})


def first_difference(path, captured) -> str:
    """The first element, in the order of arrays_of, that differs from a file that `write` made; "" for none."""
    with hdf5.Reader(path) as file:
        held = file.read(file.specs(), finite=False)
    for name, array in arrays_of(captured).items():
        array, other = np.asarray(array), held.get(name)
        if other is None or (other.shape, other.dtype) != (array.shape, array.dtype):
            return f"{name} is not what was kept"
        wrong = np.flatnonzero((other != array).reshape(-1))
        if len(wrong):
            at = tuple(int(i) for i in np.unravel_index(wrong[0], array.shape))
            return (f"element {at} of {name} was {other[at]!s}, done again {array[at]!s} ({len(wrong)} of {array.size} "
                    "elements differ)")
    return ""


def expected_bytes(job, phase) -> int:
    """About how many bytes a step of this phase takes: those of a pass of zeros through a copy of the model."""
    model, held = copy.deepcopy(job.model).train(), []
    x = np.zeros((job.config.batch_size, *job.bundle.input_shape), np.float32)
    model.key_step(job.streams, 0, 0)
    with tape.traced(lambda op, arrays, params, output: held.append(output.data.nbytes)), \
            tape.traced_pulls(lambda node, position, parent, g, gx: held.append(gx.nbytes)):
        logits, auxiliary = model.training_outputs(Tensor(x))
        loss = nn.cross_entropy(logits, np.zeros(len(x), np.int64))
        for share, output in auxiliary:
            loss = loss + share * nn.cross_entropy(output, np.zeros(len(x), np.int64))
        loss.backward()
    copies = 2 * (1 + len(phase.optimizer.arrays)) + 1 + PARTS_OF_AN_UPDATE
    weights = sum(p.data.nbytes for p in model.parameters())
    return job.config.accumulate * (sum(held) + x.nbytes) + copies * weights


def write(path, captured, **attributes) -> int:
    """Save them atomically, the folder made if it is missing; returns their bytes."""
    arrays = arrays_of(captured)
    make_folder(Path(path).parent)
    root = {"step": captured.step, "phase": captured.phase.name, "epoch": captured.epoch, "batch": captured.batch}
    hdf5.write(path, arrays, {"/": {**root, **{key: value[:8192] for key, value in attributes.items()}}})
    return sum(array.nbytes for array in arrays.values())
