"""From a configuration to what it names: data, model, and the phases of training with their methods and optimisers."""
import dataclasses
import inspect
import os
from dataclasses import dataclass

from tinyq import data, kernels, levels, models, schedules
from tinyq.data import DataBundle, Loader
from tinyq.errors import BadInput, UsageError
from tinyq.methods import METHODS
from tinyq.methods.base import Method
from tinyq.nn import Module
from tinyq.optim import OPTIMIZERS, Optimizer, groups_by_decay
from tinyq.run.settings.config import Config
from tinyq.saved.model_file import load_weights
from tinyq.saved.run_folder import weights_file
from tinyq.streams import Streams

PLAIN, FLOAT_PHASE = "backprop", "float"
MAX_THREADS = 4096                                     # with 100,000 the process dies while they are started
PHASE_SETTINGS = ("epochs", "opt", "lr", "weight_decay", "schedule", "warmup")      # what --pretrain- flags change


@dataclass(frozen=True, eq=False)
class Phase:
    """A stretch of epochs under one method, with its own optimiser and schedule."""

    name: str
    method: Method
    optimizer: Optimizer
    schedule: schedules.Schedule
    epochs: int
    first_epoch: int                # epochs of the phases before it


@dataclass(frozen=True, eq=False)
class Job:
    """All that a run works on."""

    config: Config
    bundle: DataBundle
    model: Module
    loader: Loader
    streams: Streams
    phases: list[Phase]
    starts_on_levels: bool          # --weights named a network that is constrained already
    drawn: list[str]                # what of it could not be taken over, being for another number of classes


def build(config: Config) -> Job:
    """Load the data, make and initialise the model, prepare the phases; the first thing that takes time."""
    use_threads(config.threads)
    bundle = load_data(config)
    if bundle.train is None:
        raise BadInput(f"--data {config.data}: there is no training part here; it belongs in train/<class>/")
    if bundle.validation is None and _waits_for_validation(config):
        raise UsageError(f"--schedule plateau: {config.data} has no validation part with these settings, and nothing "
                         "else lowers the rate; choose another schedule or hold some samples back for validation")
    streams = Streams(config.seed)
    model = models.build(config.model, bundle.num_classes, bundle.input_shape, config.constrain)
    if config.method != PLAIN and not model.constrained_parameters():        # told before hours of pretraining
        raise UsageError(f"--method {config.method}: {config.model} has no weight to constrain (the first and the last "
                         "layer stay float); add --constrain all to constrain those too")
    model.initialise(streams)
    starts_on_levels, drawn = load_weights(weights_file(config.weights), model) if config.weights else (False, [])
    loader = Loader(bundle.train, config.batch_size, streams, shuffle=True, augment=True, workers=config.workers)
    phases = phases_of(config, model)
    kernels.return_freed_memory()                           # drawing the first weights took more than they do
    return Job(config, bundle, model, loader, streams, phases, starts_on_levels, drawn)


def load_data(config: Config) -> DataBundle:
    """The configured dataset, with its own settings."""
    offered = {"workers": config.workers}
    options = {k: v for k, v in offered.items() if k in data.options_of(config.data)}
    return data.load(config.data, config.data_path, **options, **config.own[config.data])


def phases_of(config: Config, model) -> list[Phase]:
    """Plain backprop first, if there is any, then the configured method."""
    found = []
    if config.pretrain_epochs:
        given = {key: getattr(config, f"pretrain_{key}") for key in PHASE_SETTINGS}
        changes = {key: value for key, value in given.items() if value is not None}
        pretraining = dataclasses.replace(config, **changes)
        method = METHODS[PLAIN](label_smoothing=config.label_smoothing)
        found.append(_phase(FLOAT_PHASE, pretraining, model, method, 0))
    found.append(_phase(config.method, config, model, method_of(config), config.pretrain_epochs))
    return found


def method_of(config: Config) -> Method:
    """The configured method with its own settings, and those of the run that its constructor asks for."""
    offered = {"levels": config.levels and levels.parse(config.levels), "label_smoothing": config.label_smoothing,
               "epochs": config.epochs}
    asked = inspect.signature(METHODS[config.method]).parameters
    try:
        return METHODS[config.method](**config.own[config.method], **{k: v for k, v in offered.items() if k in asked})
    except UsageError as error:
        raise UsageError(_by_its_flag(config, str(error))) from None


def _by_its_flag(config, message):
    """The message with the parameter that it begins with as a flag."""
    name = message.partition(" ")[0]
    flag = f"{config.method}.{name}" if name in config.own[config.method] else name
    return message.replace(name, f"--{flag.replace('_', '-')}", 1)


def optimizer_of(config: Config, model) -> Optimizer:
    """The configured optimiser; momentum is for those that have it."""
    offered = {"momentum": config.momentum, "nesterov": config.nesterov}
    asked = inspect.signature(OPTIMIZERS[config.opt]).parameters
    groups = groups_by_decay(model.parameters(), config.weight_decay)
    return OPTIMIZERS[config.opt](groups, lr=config.lr, **{k: v for k, v in offered.items() if k in asked})


def schedule_of(config: Config) -> schedules.Schedule:
    """The configured schedule over the epochs that follow the warm-up."""
    steps = _whole_numbers(config.lr_steps)
    options = {"step": dict(size=steps[0], gamma=config.lr_gamma),
               "multistep": dict(milestones=steps, gamma=config.lr_gamma),
               "cosine": dict(epochs=max(config.epochs - config.warmup, 1e-9), minimum=config.lr_min),
               "plateau": dict(mode="max", factor=config.lr_gamma, patience=config.lr_patience, minimum=config.lr_min)}
    schedule = schedules.build(config.schedule, **options.get(config.schedule, {}))
    return schedules.WarmUp(schedule, config.warmup) if config.warmup else schedule


def use_threads(threads: int | None) -> None:
    """Run the kernels on so many threads (None: as numba would, one for every core this process may use).

    TinyqError if a thread would not compute as IEEE-754 says, UsageError for more threads than MAX_THREADS.
    """
    if threads and threads > MAX_THREADS:
        raise UsageError(f"--threads {threads}: must be at most {MAX_THREADS}")
    if threads:
        _set_threads(threads)
    kernels.verify_arithmetic()


def _set_threads(threads: int) -> None:
    if threads > len(os.sched_getaffinity(0)):
        os.environ.setdefault("NUMBA_NUM_THREADS", str(threads))        # the most there can be; numba's import reads it
    try:
        kernels.set_threads(threads)
    except ValueError as error:
        raise UsageError(f"--threads {threads}: {error}; set NUMBA_NUM_THREADS in the environment") from None


def _waits_for_validation(config):
    return config.schedule == "plateau" or bool(config.pretrain_epochs) and config.pretrain_schedule == "plateau"


def _phase(name, config, model, method, first_epoch):
    return Phase(name, method, optimizer_of(config, model), schedule_of(config), config.epochs, first_epoch)


def _whole_numbers(text):
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 1:
        raise UsageError(f"--lr-steps {text}: give epochs, such as 30 or 30,60,90")
    return numbers
