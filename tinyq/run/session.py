"""A run and its folder: started, resumed, brought to its results."""
import dataclasses
import json
from contextlib import suppress
from pathlib import Path

from tinyq import data
from tinyq.errors import BadInput, CannotCreate, InputOutputError, TinyqError, UsageError
from tinyq.files import weights as weight_files
from tinyq.files.atomic import make_folder, make_numbered_folder, remove, temporaries, write_text
from tinyq.files.journal import Journal, read_records
from tinyq.files.lock import locked
from tinyq.packed.file import format as packed_files
from tinyq.run import checkpoint, result
from tinyq.run.best_effort import Attempts
from tinyq.run.build import Job, build
from tinyq.run.checkpoint import Position
from tinyq.run.dry_run import splits
from tinyq.run.figures import curves
from tinyq.run.loop import Loop
from tinyq.run.observer import Observer
from tinyq.run.progress import Progress, say
from tinyq.run.settings.config import Config
from tinyq.run.settings.resolve import Resolved, read_toml, resolve, to_toml
from tinyq.run.signals import Stopped, stop_request
from tinyq.saved import model_file
from tinyq.saved.eval_splits import calibration_batches
from tinyq.saved.measure import measure
from tinyq.saved.packing import pack_model
from tinyq.saved.run_folder import CONFIG_FILE, FLOAT_FILE, METRICS_FILE, MODEL_FILE, PACKED_FILE, RESULT_FILE, anchored

# what a resume may change: no bit depends on it
RESUMABLE = ("max_steps", "threads", "workers", "print_freq", "checkpoint_minutes", "data_path")


def start(resolved: Resolved, observer: Observer | None = None) -> tuple[dict, Path]:
    """Train from the beginning, watched by an observer if there is one; returns (result, run folder)."""
    resolved = anchored(resolved)
    settings = to_toml(resolved)
    job = build(resolved.config)                        # first, so that a mistake leaves no folder behind
    folder = _new_folder(resolved.config)
    with locked(folder):
        if (folder / RESULT_FILE).exists() or checkpoint.any_in(folder / "checkpoints"):
            raise CannotCreate(f"{folder}: holds a run already; go on with --resume {folder} or choose another folder")
        write_text(folder / CONFIG_FILE, settings)
        return _carry_out(job, folder, Position(made_with=_made_with(job)), None, observer), folder


def resume(folder, changes: dict, observer_for=None) -> tuple[dict, Path]:
    """Go on with a run from its newest whole checkpoint; returns (result, run folder).

    observer_for: from the run's configuration to what is to watch it, or None.
    """
    folder = Path(folder)
    for key in changes:
        if key not in RESUMABLE:
            raise UsageError(f"--{key.replace('_', '-')}: cannot be changed by --resume, which goes on bit for bit")
    if not (folder / CONFIG_FILE).is_file():
        raise BadInput(f"{folder}: no {CONFIG_FILE} here; --resume takes the folder of a run")
    with locked(folder):
        job = build(anchored(resolve(changes, read_toml(folder / CONFIG_FILE))).config)
        if checkpoint.any_in(folder / "checkpoints"):
            position, states, complaints = checkpoint.load_newest(folder / "checkpoints")
            _refuse_another_run(folder, position.made_with, _made_with(job))
            if position.phase >= len(job.phases):
                raise BadInput(f"{folder}: its checkpoint is of a phase that the run does not have; start a new run")
            job.bundle.recall_skipped(position.skipped)
        else:
            position, states, complaints = Position(made_with=_made_with(job)), None, []
        for complaint in complaints:
            say(f"tinyq: {complaint}; an older checkpoint is used")
        if "max_steps" not in changes and (ended := _finished(folder, position)):
            say("finished already; nothing is done")
            return ended, folder
        observer = observer_for(job.config) if observer_for else None
        return _carry_out(job, folder, position, states, observer), folder


def _finished(folder, position):
    """The result of a run that came to its end at this position; None where it did not, or its network is gone."""
    try:
        ended = json.loads((folder / RESULT_FILE).read_bytes())
    except (OSError, ValueError):
        return None
    whole = isinstance(ended, dict) and ended.get("steps") == position.steps and (folder / MODEL_FILE).is_file()
    return ended if whole else None


def _new_folder(config: Config) -> Path:
    if config.output:
        folder = make_folder(config.output)
        ours = {folder / ".lock", *temporaries(folder)}
        if not (folder / CONFIG_FILE).exists() and any(path not in ours for path in folder.iterdir()):
            raise CannotCreate(f"{folder}: not empty and not a run; choose another --output")
        return folder
    model = Path(config.model.partition(":")[0]).stem
    return make_numbered_folder("runs", f"{model}-{config.data}-{config.method}")


def _made_with(job) -> dict:
    """What the bits of a run depend on: the settings that no resume may change, and the data."""
    config = job.config
    moving = (*RESUMABLE, "output", "recipe", "weights", "own")         # of weights, the checkpoint has what is needed
    settings = {key: value for key, value in dataclasses.asdict(config).items() if key not in moving}
    own = {f"{owner}.{key}": value for owner, values in config.own.items() for key, value in values.items()
           if key not in data.PATH_OPTIONS}
    return {**settings, **own, "model": Path(config.model).name, "data_sha256": job.bundle.manifest["sha256"]}


def _refuse_another_run(folder, before, now):
    """BadInput, naming what differs, unless config.toml and the data are still those of the checkpoint."""
    changed = [f"{key} was {value}, is {now.get(key)}" for key, value in before.items() if now.get(key) != value]
    if changed:
        raise BadInput(f"{folder / CONFIG_FILE}: not what the checkpoint was made with ({'; '.join(changed)}); put "
                       "that back to go on bit for bit, or start a new run")


def _carry_out(job: Job, folder: Path, position: Position, states, observer) -> dict:
    """Train from a position on and leave everything the run folder is to hold."""
    observer = observer or Observer()
    for place in (folder, make_folder(folder / "checkpoints"), folder / "plots"):
        for left in temporaries(place):                         # by a run that was killed
            remove(left)
    epochs = sum(phase.epochs for phase in job.phases)
    steps_per_epoch = -(-len(job.loader) // job.config.accumulate)
    progress = Progress(epochs, steps_per_epoch, position.steps)
    observer.say = progress.say
    progress.say(f"data: {splits(job.bundle)}")
    if job.drawn:
        progress.say(f"{job.config.weights} is for another number of classes: {' and '.join(job.drawn)} drawn anew")
    try:
        with stop_request() as request:
            def heed():
                request.heed(folder, position.steps)

            observer.begin(job, folder, position)
            with Journal(folder / METRICS_FILE, keep=position.records) as journal:
                loop = Loop(job, position, folder, journal, progress, request,
                            lambda: _keep_float_network(job, folder, position, journal, progress, heed, observer),
                            observer)
                loop.run(states)
            return _finish(job, folder, position, heed, observer)
    except Stopped:
        if observer.head:
            progress.say(f"ledger head {observer.head}")
        with suppress(CannotCreate, InputOutputError):          # a full disk must not hide what stopped the run
            curves.write_all(folder / "plots", read_records(folder / METRICS_FILE), {})
        raise
    except InputOutputError as error:
        raise InputOutputError(f"{error}; then go on with: python -m tinyq.train --resume {folder}") from error
    finally:
        progress.close()
        observer.close()


def _keep_float_network(job, folder, position, journal, progress, heed, observer):
    """Measure and save the float network that the last phase starts from, if there is one."""
    if len(job.phases) == 1 and not job.config.weights:
        return
    if len(job.phases) == 1 and job.starts_on_levels:
        progress.say(f"starts from {job.config.weights}, which is constrained: no float network to compare with")
        return
    attributes = model_file.describe(dataclasses.replace(job.config, method="backprop", levels=None), job.bundle)
    weights = model_file.weights_of(job.model, attributes, model_file.probe_inputs(job.bundle))
    attempt = Attempts(progress.say)
    kept = attempt(lambda: weight_files.write(folder / FLOAT_FILE, weights)) and \
        attempt(lambda: observer.saved(folder / FLOAT_FILE, position))
    if job.bundle.test is not None:
        scores = measure(job.model, job.bundle.test, job.bundle.num_classes, job.bundle.input_shape, heed)
        position.test_accuracy_float = scores.accuracy
        attempt(lambda: journal.append({"record": "float", "step": position.steps, "test_accuracy": scores.accuracy}))
        where = f"kept in {folder / FLOAT_FILE}" if kept else "not kept"
        progress.say(f"float network: test error {1 - scores.accuracy:.2%}, {where}")


def _finish(job, folder, position, heed, observer) -> dict:
    model_file.require_finite(job.model.state_dict())            # histograms and methods count on it
    histograms = result.histograms(job.model)               # before the latent weights are gone
    job.phases[-1].method.finish()
    attributes = model_file.describe(job.config, job.bundle)
    weights = model_file.weights_of(job.model, attributes, model_file.probe_inputs(job.bundle))
    weights.attributes.update(observer.finish(position, weights.state))
    observer.sync()
    weight_files.write(folder / MODEL_FILE, weights)
    observer.saved(folder / MODEL_FILE, position)
    outcome = result.outcome(job, position, weights, heed) | {
        "bytes_packed_file": _pack(job, folder, weights, lambda path: observer.saved(path, position))}
    if observer.head:
        outcome["ledger_head"] = observer.head
    observer.sync()
    curves.write_all(folder / "plots", read_records(folder / METRICS_FILE), histograms)
    write_text(folder / RESULT_FILE, json.dumps(outcome, indent=2) + "\n")
    return outcome


def _pack(job, folder, weights, record):
    """Write the packed network beside the other; returns its bytes, None where none is made: of a float network.

    Nor is one made where that fails: the run has its result all the same, and an older one does not stay beside it.
    """
    if not weights.levels:
        return None
    attributes = {**weights.attributes, "weights_sha256": weight_files.weights_sha256(weights.state)}
    try:
        packed_files.write(folder / PACKED_FILE, pack_model(job.model, attributes, calibration_batches(job.bundle)))
        record(folder / PACKED_FILE)
        return (folder / PACKED_FILE).stat().st_size
    except (TinyqError, MemoryError, OSError) as error:
        reason = "out of memory" if isinstance(error, MemoryError) else error
        say(f"tinyq: no {PACKED_FILE}: {reason}; python -m tinyq.pack {folder} OUT.tq.h5 makes one")
        with suppress(InputOutputError):
            remove(folder / PACKED_FILE)
        return None
