"""Write every array of a captured step to one HDF5 file, and compare a step with such a file."""
import copy
import dataclasses
from pathlib import Path

import numpy as np

from tinyq.audit.capture.capture import Capture, Captured
from tinyq.audit.methods.method_table import audit_of
from tinyq.audit.step.update_terms import updates_of
from tinyq.autodiff import tape
from tinyq.data import Batch
from tinyq.files import hdf5
from tinyq.files.atomic import make_folder
from tinyq.run.build import Job
from tinyq.run.checkpoint import Position
from tinyq.run.phases import Phase

STEPS = "steps"                         # folder of the arrays that --audit full keeps


def step_file(folder: str | Path, step: int) -> Path:
    """Return the path of the arrays that --audit full keeps of a step."""
    return Path(folder) / STEPS / f"step-{step:09d}.h5"


def arrays_of(captured: Captured) -> dict[str, np.ndarray]:
    """Return {path: array}: input, results of primitives and vjps, gradients, update terms, the method's own arrays."""
    method = captured.phase.method
    return {**_shared_arrays(captured), **audit_of(type(method).__name__).arrays(method)}


def _shared_arrays(captured):
    found: dict[str, np.ndarray] = {}
    for i, batch in enumerate(captured.batches):
        found |= {f"input/{i}/x": batch.x, f"input/{i}/labels": batch.y, f"input/{i}/samples": batch.indices}
    for i, application in enumerate(captured.applications):
        group = f"primitives/{i:03d} {application.name}"
        found[f"{group}/output"] = application.output
        found |= {f"{group}/gradient {position}": gx for position, (_, gx) in application.vjps.items()}
    for when, state, memory in (("before", captured.before, captured.memory_before),
                                ("after", captured.after, captured.memory_after)):
        found |= {f"{when}/weights/{name}": array for name, array in state.items()}
        found |= {f"{when}/optimizer/{name}/{key}": np.asarray(value) for name, kept in memory.items()
                  for key, value in kept.items()}
    if captured.phase.method.uses_gradients:
        found |= {f"gradients/{name}": array for name, array in captured.handed.items()}
        found |= {f"update/{term}/{name}": array for name, update in updates_of(captured).items()
                  for term, array in update.terms.items()}
    return found


def first_difference(path: str | Path, captured: Captured) -> str:
    """Name the first element, in the order of arrays_of, that differs from a file made by `write`; "" for none."""
    with hdf5.Reader(path) as file:
        held = file.read(file.specs(), finite=False)
    for name, array in arrays_of(captured).items():
        array, other = np.asarray(array), held.get(name)
        if other is None or (other.shape, other.dtype) != (array.shape, array.dtype):
            return f"{name} has another shape than the array on disk"
        wrong = np.flatnonzero((other != array).reshape(-1))
        if len(wrong):
            at = tuple(int(i) for i in np.unravel_index(wrong[0], array.shape))
            return (f"element {at} of {name} was {other[at]!s}, replayed {array[at]!s} ({len(wrong)} of {array.size} "
                    "elements differ)")
    return ""


def expected_bytes(job: Job, phase: Phase) -> int:
    """Return the size of the file of a later step of this phase, by a step on zeros with copies of model and method."""
    count = job.largest_batch
    batch = Batch(np.zeros((count, *job.bundle.input_shape), np.float32), *np.zeros((2, count), np.int64))
    batches, method = [batch] * job.batches_per_step, phase.method
    if method.uses_gradients:
        return len(hdf5.encode(arrays_of(_rehearsed(job, phase, batches)), {}))
    still = Capture(job.model, phase.optimizer).finished(phase, Position(), batches)
    own = audit_of(type(method).__name__).expected_arrays(method, sum(len(b.y) for b in batches))
    return len(hdf5.encode({**_shared_arrays(still), **own}, {}))


def _rehearsed(job, phase, batches):
    """Capture the second of two steps, because the optimiser has no memory before the first."""
    model, method, optimizer = copy.deepcopy((job.model, phase.method, phase.optimizer))
    model.train().key_step(job.streams, 0, 0)
    for _ in range(2):
        capture = Capture(model, optimizer)
        with tape.traced(capture.note), tape.traced_vjps(capture.note_vjp):
            method.step(batches)
    return capture.finished(dataclasses.replace(phase, method=method, optimizer=optimizer), Position(), batches)


def write(path: str | Path, captured: Captured, **attributes: str) -> None:
    """Save the arrays of a captured step atomically; create the folder if needed."""
    arrays = arrays_of(captured)
    make_folder(Path(path).parent)
    root = {"step": captured.step, "phase": captured.phase.name, "epoch": captured.epoch + 1, "batch": captured.batch}
    hdf5.write(path, arrays, {"/": {**root, **{key: value[:8192] for key, value in attributes.items()}}})
