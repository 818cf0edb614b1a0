"""A run in its folder: start it, resume it, bring it to its result."""
import dataclasses
import json
import shlex
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from tinyq import data
from tinyq.data.named_data import shown_name
from tinyq.errors import BadInput, CannotCreate, InputOutputError, UsageError
from tinyq.files.atomic import (
    check_writable,
    make_folder,
    make_numbered_folder,
    remove,
    temporaries,
    write_text,
)
from tinyq.files.lock import locked
from tinyq.files.own_folder import check_not_shared, check_own_folder
from tinyq.own_code import RunCode, code_in, recorded
from tinyq.run import checkpoint
from tinyq.run.build import Job, build, steps_are_used_up
from tinyq.run.checkpoint import Position
from tinyq.run.dry_run import not_packed, splits
from tinyq.run.figures import curves
from tinyq.run.figures.curve_records import curve_records
from tinyq.run.finish import finish
from tinyq.run.loop import Loop
from tinyq.run.observers.checkpointer import Checkpointer
from tinyq.run.observers.diverged_step import DivergedStep
from tinyq.run.observers.float_baseline import FloatBaseline
from tinyq.run.observers.metrics_journal import MetricsJournal
from tinyq.run.observers.observer import Observer, Observers, log
from tinyq.run.observers.progress import Progress
from tinyq.run.observers.signals import Stopped, StopRequest, stop_request
from tinyq.run.observers.stopwatch import Stopwatch
from tinyq.run.result import EARLY_STOPPING, MAX_STEPS, summary
from tinyq.run.settings import extension, plugins
from tinyq.run.settings.config import Config, divides_its_epochs
from tinyq.run.settings.resolve import Resolved, resolve, to_toml
from tinyq.run.settings.toml_file import checked, read_flat
from tinyq.saved.model_file import describe
from tinyq.saved.run_folder import (
    CONFIG_FILE,
    FLOAT_FILE,
    MODEL_FILE,
    RESULT_FILE,
    anchored,
    no_run,
    resume_command,
)

# settings that a resume may change: no bit depends on them
RESUMABLE = ("max_steps", "threads", "workers", "print_freq", "tensorboard", "checkpoint_minutes", "data_path")

ObserversFor = Callable[[Config], Sequence[Observer]]       # such as tinyq.audit.observers_for


def start(resolved: Resolved, observers_for: ObserversFor = lambda config: ()) -> tuple[dict, Path]:
    """Train from the beginning, watched by the observers for the configuration; returns (result, run folder)."""
    resolved = anchored(resolved)
    settings = to_toml(resolved)
    job = build(resolved.config)                        # first, so that a mistake leaves no folder behind
    folder = _new_folder(resolved.config)
    with locked(folder):
        if (folder / RESULT_FILE).exists() or checkpoint.any_in(folder / "checkpoints"):
            raise CannotCreate(f"{folder}: contains a run already; choose another folder, or continue it with: "
                               f"{resume_command(folder)}")
        write_text(folder / CONFIG_FILE, settings)
        job.code.write(folder)
        return _run(job, folder, _beginning(job), None, observers_for(job.config)), folder


def resume(folder: str | Path, changes: dict,
           observers_for: ObserversFor = lambda config: (), trust: bool = False) -> tuple[dict, Path]:
    """Continue a run from its newest undamaged checkpoint; returns (result, run folder).

    changes: settings of RESUMABLE, or epochs, more than the run has: it is extended. trust: run the copies of the
    user's own code in the folder. UsageError for any other setting, or where the run cannot be extended; BadInput where
    the folder or its data changed, or the run has code of the user's own that is not trusted.
    """
    folder = Path(folder)
    for key in changes:
        if key not in (*RESUMABLE, "epochs"):
            raise UsageError(f"--{key.replace('_', '-')}: cannot be changed by --resume, which continues bit for bit")
    if not (folder / CONFIG_FILE).is_file():
        raise no_run(folder, f"no {CONFIG_FILE} here; --resume takes the folder of a run")
    check_own_folder(folder)
    with locked(folder):
        given = read_flat(folder / CONFIG_FILE)
        code = _trusted_code(folder, given, trust)
        plugins.activate(code.plugins)
        settings = checked(folder / CONFIG_FILE, given)
        job = build(anchored(resolve({**changes, **code_in(settings)}, settings)).config, code)
        extends = "epochs" in changes
        position, states = _newest_position(job, folder, extends)
        if not extends and (ended := _finished(folder, position)) and _is_over(job, position, ended, changes):
            log(f"already finished; nothing to do{_how_to_go_on(folder, ended['ended_by'])}")
            return ended, folder
        observers = Observers(observers_for(job.config))
        if states is not None:
            observers.check_resume(folder, position, states)
        if extends:
            _extend(job, folder, position, states, observers)
        return _run(job, folder, position, states, observers.observers, extends), folder


def _extend(job: Job, folder: Path, position: Position, states: dict | None, observers: Observers) -> None:
    """Give the run more epochs, in config.toml; UsageError where that cannot be."""
    had, epochs = position.made_with["epochs"], job.config.epochs
    if states is None:
        raise UsageError(f"--epochs {epochs}: {folder} has no checkpoint yet, so there is nothing to extend; start a "
                         "new run")
    if epochs <= had:
        raise UsageError(f"--epochs {epochs}: the run has {had} epochs; give more to extend it")
    if divides_its_epochs(job.config.method):
        start = shlex.quote(str(folder / FLOAT_FILE))
        raise UsageError(f"--epochs {epochs}: {job.config.method} divides its epochs when it begins, so its run cannot "
                         f"be extended; start a new one, such as with --weights {start}")
    stopping = job.phases[position.phase].stopping
    stopping.load_state(states.get("stopping", {}))
    if stopping.done:
        raise UsageError(f"--epochs {epochs}: early stopping ended the run, after {stopping.patience} epochs without a "
                         "better validation figure; start a new run with a larger --early-stopping")
    if steps_are_used_up(job, position):
        raise UsageError(f"--epochs {epochs}: --max-steps {job.config.max_steps} ends the run before; raise that too")
    observers.check_extension(folder, position)
    path = folder / CONFIG_FILE
    write_text(path, extension.extended(extension.before(path.read_text(), had), epochs, position.steps))
    position.made_with = {**position.made_with, "epochs": epochs}
    log(f"extended from {had} to {epochs} epochs; schedules go on as if it had been {epochs} from the beginning")


def _how_to_go_on(folder: Path, ended_by: str) -> str:
    """Return the end of the line about a finished run."""
    if ended_by == MAX_STEPS:
        return f" (--max-steps ended it; more of them continue it: {resume_command(folder)} --max-steps N)"
    return ("; early stopping ended it" if ended_by == EARLY_STOPPING
            else f"; to train longer: {resume_command(folder)} --epochs N")


def _is_over(job: Job, position: Position, ended: dict, changes: dict) -> bool:
    """Return True if nothing is left to train; ended: the run's result."""
    return "max_steps" not in changes or ended["ended_by"] != MAX_STEPS or steps_are_used_up(job, position)


def _trusted_code(folder: Path, settings: dict, trust: bool) -> RunCode:
    """Read the copies of the run's own code, if it has some; their SHA-256 must be those in the newest checkpoint."""
    sha256 = None
    if trust and checkpoint.any_in(folder / "checkpoints"):
        sha256 = checkpoint.load_newest(folder / "checkpoints")[0].made_with.get("code")
    return RunCode.trusted(folder, settings, trust, sha256)


def _beginning(job: Job) -> Position:
    return Position(made_with=_made_with(job), network=describe(job.config, job.bundle))


def _newest_position(job: Job, folder: Path, extends: bool) -> tuple[Position, dict | None]:
    """Return (position, states) of the newest undamaged checkpoint, or of the beginning where there is none yet.

    extends: the job may have other epochs than the checkpoint.
    """
    made_with = _made_with(job)
    if not checkpoint.any_in(folder / "checkpoints"):
        return _beginning(job), None
    position, states, complaints = checkpoint.load_newest(folder / "checkpoints")
    _check_same_run(folder, position.made_with, made_with | (
        {"epochs": position.made_with.get("epochs")} if extends else {}))
    if position.phase >= len(job.phases):
        raise BadInput(f"{folder}: its checkpoint is of a phase that the run does not have; start a new run")
    job.bundle.recall_skipped(position.skipped)
    for complaint in complaints:
        log(f"tinyq: {complaint}; an older checkpoint is used")
    return position, states


def _finished(folder: Path, position: Position) -> dict | None:
    """Return the result of a run that ended at this position; None if it did not, or if its network is gone."""
    try:
        ended = json.loads((folder / RESULT_FILE).read_bytes())
        summary(ended)                                      # a damaged or foreign result has none
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError):
        return None
    whole = isinstance(ended, dict) and ended.get("steps") == position.steps and (folder / MODEL_FILE).is_file()
    return ended if whole else None


def _new_folder(config: Config) -> Path:
    if config.output:
        if Path(config.output).is_dir():                # another user may have made it
            check_not_shared(config.output)
            check_own_folder(config.output)
        folder = make_folder(config.output)
        ours = {folder / ".lock", *temporaries(folder)}
        if not (folder / CONFIG_FILE).exists() and any(path not in ours for path in folder.iterdir()):
            raise CannotCreate(f"{folder}: not empty and not a run; choose another --output")
        return folder
    model = Path(str(config.model).partition(":")[0]).stem
    name = Path(shown_name(config.data, config.data_path)).stem
    return make_numbered_folder("runs", f"{model}-{name}-{config.method}")


def _made_with(job: Job) -> dict:
    return made_with(job.config, job.bundle.manifest["sha256"], job.code.sha256)


def made_with(config: Config, data_sha256: str, code: object) -> dict:
    """Return all that the bits of a run depend on: the settings that no resume may change, the data, the user's code.

    code: SHA-256 of the files of the user's own code, by the name of the copy; empty where there are none.
    """
    moving = (*RESUMABLE, "output", "recipe", "weights", "options")     # a checkpoint replaces `weights`
    settings = {key: value for key, value in dataclasses.asdict(config).items() if key not in moving}
    options = {f"{component}.{key}": value for component, values in config.options.items()
               for key, value in values.items() if key not in data.PATH_OPTIONS}
    own = {**recorded(vars(config)), **({"code": code} if code else {})}
    return {**settings, **options, **own, "data_sha256": data_sha256}


def _check_same_run(folder: Path, before: dict, now: dict) -> None:
    """BadInput, with every difference, unless config.toml and the data are still those of the checkpoint."""
    changed = [f"{key} was {value}, is {now.get(key)}" for key, value in before.items() if now.get(key) != value]
    if changed:
        raise BadInput(f"{folder / CONFIG_FILE}: the settings or the data differ from those of the checkpoint "
                       f"({'; '.join(changed)}); restore them to continue bit for bit, or start a new run")


def _run(job: Job, folder: Path, position: Position, states: dict | None, watching: Sequence[Observer],
         extends: bool = False) -> dict:
    """Train from a position on and write everything that the run folder is to hold; returns the result.

    extends: the run has more epochs from here on.
    """
    _remove_temporaries(folder, make_folder(folder / "checkpoints"), folder / "plots")
    check_writable(folder)                              # before the ledger and the metrics go back to the checkpoint
    with stop_request() as request:
        observers = _observers(job, position, request, watching)
        _log_beginning(job)
        try:
            observers.begin(job, folder, position)
            if extends and states is not None:
                _record_extension(job, folder, position, states, observers)
            Loop(job, position, observers).run(states)
            return finish(job, folder, position, observers, lambda: request.check(folder, position.steps))
        except Stopped:
            if observers.head:
                observers.log(f"ledger head {observers.head}")
            with suppress(CannotCreate, InputOutputError):          # a full disk must not hide what stopped the run
                curves.write_all(folder / "plots", curve_records(folder), {})
            raise
        except InputOutputError as error:
            raise InputOutputError(f"{error}; then go on with: {resume_command(folder)}") from error
        finally:
            observers.close()


def _record_extension(job: Job, folder: Path, position: Position, states: dict, observers: Observer) -> None:
    """Put the new epochs on record, and into the checkpoint that the run goes on from."""
    observers.extended(position)
    observers.checkpoint(position, states)
    observers.sync()
    position.ledger_head = observers.head
    observers.saved(checkpoint.save(folder / "checkpoints", position, states), position)


def _observers(job: Job, position: Position, request: StopRequest, watching: Sequence[Observer]) -> Observers:
    """List everything that observes a run, in the order in which it receives events."""
    metrics, observers = MetricsJournal(), Observers([])
    observers.observers += [
        Stopwatch(), metrics, Progress.of(job, position), *watching,
        FloatBaseline(observers, metrics, request), DivergedStep(), Checkpointer(observers, request)]
    return observers


def _log_beginning(job: Job) -> None:
    log(f"data: {splits(job.bundle)}")
    if job.reinitialised:
        log(f"{job.config.weights} is for another number of classes: {' and '.join(job.reinitialised)} re-initialised")
    if job.unpackable:
        log(f"tinyq: {not_packed(job.unpackable)}")


def _remove_temporaries(*folders: Path) -> None:
    """Remove what a killed run left half written."""
    for folder in folders:
        for path in temporaries(folder):
            remove(path)
