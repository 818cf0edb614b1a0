"""The end of a run: the network's files, its curves and its result."""
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tinyq.errors import CannotCreate, InputOutputError, TinyqError
from tinyq.files import weights as weight_files
from tinyq.files.atomic import remove, write_text
from tinyq.files.weights import Weights
from tinyq.output.counting import counted
from tinyq.packed.file import format as packed_files
from tinyq.packed.file.format import Packed
from tinyq.run import checkpoint, result
from tinyq.run.build import Job
from tinyq.run.checkpoint import Position
from tinyq.run.checkpoint_network import begun
from tinyq.run.figures import curves
from tinyq.run.figures.curve_records import curve_records
from tinyq.run.observers.observer import Observer
from tinyq.run.phases import config_after
from tinyq.saved import model_file
from tinyq.saved.eval_splits import calibration_batches
from tinyq.saved.packing import pack_model
from tinyq.saved.run_folder import (
    BEST_FILE,
    MODEL_FILE,
    PACKED_FILE,
    RESULT_FILE,
    pack_command,
    resume_command,
)
from tinyq.tasks.task import FIGURE_NAMES, figure_text


def finish(job: Job, folder: Path, position: Position, observers: Observer,
           check_signals: Callable[[], None]) -> dict:
    """Write everything that a finished run leaves in its folder; returns its result.

    check_signals: called before each batch that is measured; may raise to stop here.
    """
    model_file.check_finite(job.model.state_dict())         # histograms and methods rely on it
    histograms, moved = result.histograms(job.model), result.distance_from_levels(job.model)    # of latent weights
    phase = job.phases[position.phase]
    phase.method.finish()
    if phase is not job.phases[-1]:
        observers.log(f"tinyq: note: --max-steps ended the run before its {job.phases[-1].name} phase: its network is "
                      f"float; to continue: {resume_command(folder)} --max-steps {_planned_steps(job)}")
    weights = _save_model(job, folder, position, observers)
    outcome = result.outcome(job, position, weights, moved, check_signals)
    outcome["bytes_packed_file"] = _save_packed(job, folder, position, weights, observers)
    _save_best(job, folder, position, weights.attributes.get("ledger_head"), observers)
    if outcome["ended_by"] == result.EARLY_STOPPING:
        observers.log(f"early stopping ended the run after {position.steps:,} steps: "
                      f"{counted(job.config.early_stopping, 'epoch')} without a better validation "
                      f"{FIGURE_NAMES[job.loss.task.best]}")
    observers.measured(position, outcome)
    if observers.head:
        outcome["ledger_head"] = observers.head
    observers.sync()
    curves.write_all(folder / "plots", curve_records(folder), histograms)
    write_text(folder / RESULT_FILE, json.dumps(outcome, indent=2) + "\n")
    return outcome


def _planned_steps(job: Job) -> int:
    return sum(phase.epochs for phase in job.phases) * -(-len(job.loader) // job.config.accumulate)


def finished_weights(job: Job, position: Position) -> Weights:
    """Return the contents of model.h5, except the ledger's head; position: where training ended."""
    config = config_after(job.config, job.phases[position.phase].name)
    return model_file.weights_of(job.model, model_file.describe(config, job.bundle),
                                 model_file.probe_inputs(job.bundle))


def best_weights(job: Job, folder: Path, position: Position) -> Weights | None:
    """Return the contents of best.h5, except the ledger's head, from the checkpoint of the best epoch.

    The best is that of the last phase trained, by the task's best validation figure. None without a validation split.
    """
    if position.best_steps is None:
        return None
    phase, config = job.phases[position.phase], job.config
    at, states = checkpoint.load(checkpoint.path_of(folder / "checkpoints", position.best_steps))
    model = job.new_model()
    begun(config, model, at, states, lambda: job.training_data, loss=lambda data: job.loss).finish()
    attributes = {**model_file.describe(config_after(config, phase.name), job.bundle),
                  "epoch": phase.epoch_number(at.epoch - 1), f"validation_{job.loss.task.best}": position.best_figure}
    return model_file.weights_of(model, attributes, model_file.probe_inputs(job.bundle))


def finished_packed(job: Job, weights: Weights) -> Packed:
    """Return the contents of model.tq.h5; weights: of model.h5, with all its attributes."""
    attributes = {**weights.attributes, "weights_sha256": weight_files.weights_sha256(weights.state)}
    return pack_model(job.model, attributes, calibration_batches(job.bundle))


def _save_model(job: Job, folder: Path, position: Position, observers: Observer) -> Weights:
    weights = finished_weights(job, position)
    weights.attributes.update(observers.finish(position, weights.state))
    observers.sync()
    weight_files.write(folder / MODEL_FILE, weights)
    observers.saved(folder / MODEL_FILE, position)
    return weights


def _save_best(job: Job, folder: Path, position: Position, head: str | None, observers: Observer) -> None:
    """Write the network of the best epoch, where one is known; without it the run has a result all the same."""
    path = folder / BEST_FILE
    try:
        if weights := best_weights(job, folder, position):
            weights.attributes.update({"ledger_head": head} if head else {})
            weight_files.write(path, weights)
            observers.saved(path, position)
            observers.log(f"best validation {_best_text(job, position)}, after epoch {weights.attributes['epoch']}: "
                          f"saved as {path}")
            return
    except (TinyqError, MemoryError, OSError) as error:
        observers.log(f"tinyq: no {BEST_FILE}: {'out of memory' if isinstance(error, MemoryError) else error}")
    with suppress(InputOutputError):
        remove(path)


def _best_text(job: Job, position: Position) -> str:
    name, figure = job.loss.task.best, position.best_figure
    assert figure is not None
    if name == "accuracy":
        return f"error {figure_text('error', 1 - figure)}"
    return f"{FIGURE_NAMES[name]} {figure_text(name, figure)}"


def _save_packed(job: Job, folder: Path, position: Position, weights: Weights, observers: Observer) -> int | None:
    """Write the packed network; returns its bytes, or None for a float network and where packing fails.

    The run has a result in either case. A packed file of an earlier end is then deleted.
    """
    if not weights.levels:
        return None
    path = folder / PACKED_FILE
    try:
        packed_files.write(path, finished_packed(job, weights))
        observers.saved(path, position)
        return path.stat().st_size
    except (TinyqError, MemoryError, OSError) as error:
        reason = "out of memory" if isinstance(error, MemoryError) else error
        passing = isinstance(error, CannotCreate | InputOutputError | MemoryError | OSError)
        remedy = f"; then make one with: {pack_command(folder)}" if passing else ""     # packing would fail again
        observers.log(f"tinyq: no {PACKED_FILE}: {reason}{remedy}")
        with suppress(InputOutputError):
            remove(path)
        return None
