"""Build a job from a configuration: data, model, and the phases of training with their methods and optimisers."""
import dataclasses
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tinyq import data, kernels, levels, models, schedules
from tinyq.data import DataBundle, Dataset, Loader
from tinyq.errors import BadInput, UsageError
from tinyq.kernels.jit.cores import allow_threads
from tinyq.kernels.jit.variables import MAX_THREADS
from tinyq.methods import METHODS
from tinyq.methods.base import Method
from tinyq.models import UserFile
from tinyq.nn import Module
from tinyq.optim import OPTIMIZERS, Optimizer, groups_by_decay
from tinyq.run.readiness import check_smallest_batch, obstacle_to_packing
from tinyq.run.settings.config import Config, known_keys, options_of
from tinyq.run.weights_preparation import check_same_preparation
from tinyq.saved.model_file import load_weights
from tinyq.saved.run_folder import weights_file
from tinyq.streams import Streams

BACKPROP, FLOAT_PHASE = "backprop", "float"
PHASE_SETTINGS = ("epochs", "opt", "lr", "weight_decay", "schedule", "warmup")      # each has a --pretrain- flag


@dataclass(frozen=True, eq=False)
class Phase:
    """Consecutive epochs under one method, with their own optimiser and schedule."""

    name: str
    method: Method
    optimizer: Optimizer
    schedule: schedules.Schedule
    epochs: int
    first_epoch: int                # epochs of the phases before

    def epoch_number(self, epoch: int) -> int:
        """Return the number of an epoch in lines and records; epoch: of this phase, from 0.

        Epochs are counted from 1, through all phases.
        """
        return self.first_epoch + epoch + 1


@dataclass(frozen=True, eq=False)
class Job:
    """Everything that a run works on."""

    config: Config
    bundle: DataBundle
    model: Module
    loader: Loader
    streams: Streams
    phases: list[Phase]
    starts_on_levels: bool          # --weights names a network that is constrained already
    reinitialised: list[str]        # its parameters that do not fit, made for another number of classes
    network: UserFile | None        # the user's own network
    unpackable: str                 # why a packed file cannot hold the user's own network; "" if it can

    @property
    def largest_batch(self) -> int:
        """Number of samples in the largest batch of an epoch."""
        return max(self.loader.samples(0), self.loader.samples(len(self.loader) - 1))

    @property
    def batches_per_step(self) -> int:
        """Number of batches whose gradients a step combines, at most those of an epoch."""
        return min(self.config.accumulate, len(self.loader))

    @property
    def training_data(self) -> Dataset:
        """The training split, which `build` has made sure of."""
        assert self.bundle.train is not None
        return self.bundle.train


def build(config: Config, network: UserFile | None = None) -> Job:
    """Load the data, make and initialise the model, prepare the phases.

    network: the file to run for a user's own network, if not the one that the configuration names.
    """
    use_threads(config.threads)
    bundle = load_data(config)
    if bundle.train is None:
        raise BadInput(f"--data {config.data}: there is no training part here; it belongs in train/<class>/")
    if bundle.validation is None and _needs_validation(config):
        raise UsageError(f"--schedule plateau: {config.data} has no validation part with these settings, and nothing "
                         "else lowers the rate; choose another schedule or hold some samples back for validation")
    streams = Streams(config.seed)
    if network is None and models.names_code(config.model):
        network = models.UserFile.read(config.model)
    model = models.build(network or config.model, bundle.num_classes, bundle.input_shape, config.constrain)
    if config.method != BACKPROP and not model.constrained_parameters():        # before hours of pretraining
        raise UsageError(f"--method {config.method}: {config.model} has no weight to constrain (the first and the last "
                         "layer stay float); add --constrain all to constrain those too")
    model.initialise(streams)
    starts_on_levels, reinitialised = _start_from_weights(config, model, bundle) if config.weights else (False, [])
    loader = Loader(bundle.train, config.batch_size, streams, shuffle=True, augment=True, workers=config.workers)
    check_smallest_batch(model, bundle.input_shape, loader.smallest, config.batch_size)
    phases = phases_of(config, model)
    unpackable = obstacle_to_packing(model, bundle.input_shape) if network and config.method != BACKPROP else ""
    kernels.return_freed_memory()                           # initialising took more memory than the weights need
    return Job(config, bundle, model, loader, streams, phases, starts_on_levels, reinitialised, network, unpackable)


def _start_from_weights(config: Config, model: Module, bundle: DataBundle) -> tuple[bool, list[str]]:
    """Load the weights of the configuration; UsageError where their inputs were prepared otherwise."""
    path = weights_file(config.weights or "")
    if config.weights_preparation == "same":
        check_same_preparation(path, config, bundle)
    return load_weights(path, model)


def load_data(config: Config) -> DataBundle:
    """Load the configured dataset with its options."""
    offered = {"workers": config.workers}
    options = {k: v for k, v in offered.items() if k in data.options_of(config.data)}
    with _naming_options_of(config.data):
        return data.load(config.data, config.data_path, **options, **config.options[config.data])


def config_after(config: Config, phase: str) -> Config:
    """Return the configuration that describes a network which this phase was the last to train."""
    return dataclasses.replace(config, method=BACKPROP, levels=None) if phase == FLOAT_PHASE else config


def phases_of(config: Config, model: Module) -> list[Phase]:
    """Make the phases: backprop first, if there are epochs for it, then the configured method."""
    found = []
    if config.pretrain_epochs:
        given = {key: getattr(config, f"pretrain_{key}") for key in PHASE_SETTINGS}
        changes = {key: value for key, value in given.items() if value is not None}
        pretraining = dataclasses.replace(config, **changes)
        method = METHODS[BACKPROP](label_smoothing=config.label_smoothing)
        found.append(_phase(FLOAT_PHASE, pretraining, model, method, 0))
    found.append(_phase(config.method, config, model, method_of(config), config.pretrain_epochs))
    return found


def method_of(config: Config) -> Method:
    """Make the configured method with its options, and the settings of the run that its constructor takes."""
    offered = {"levels": config.levels and levels.parse(config.levels), "label_smoothing": config.label_smoothing,
               "epochs": config.epochs}
    asked = inspect.signature(METHODS[config.method]).parameters
    with _naming_options_of(config.method):
        return METHODS[config.method](**config.options[config.method],
                                      **{k: v for k, v in offered.items() if k in asked})


def optimizer_of(config: Config, model: Module) -> Optimizer:
    """Make the configured optimiser; only one that has momentum gets it."""
    offered = {"momentum": config.momentum, "nesterov": config.nesterov}
    asked = inspect.signature(OPTIMIZERS[config.opt]).parameters
    groups = groups_by_decay(model.parameters(), config.weight_decay)
    return OPTIMIZERS[config.opt](groups, lr=config.lr, **{k: v for k, v in offered.items() if k in asked})


def schedule_of(config: Config) -> schedules.Schedule:
    """Make the configured schedule over the epochs after the warm-up."""
    steps = _whole_numbers(config.lr_steps)
    options: dict[str, dict] = {"step": dict(size=steps[0], gamma=config.lr_gamma),
                                "multistep": dict(milestones=steps, gamma=config.lr_gamma),
                                "cosine": dict(epochs=max(config.epochs - config.warmup, 1e-9), minimum=config.lr_min),
                                "plateau": dict(mode="max", factor=config.lr_gamma, patience=config.lr_patience,
                                                minimum=config.lr_min)}
    if config.lr_min > config.lr and config.schedule in ("cosine", "plateau"):
        raise UsageError(f"--lr-min {config.lr_min}: must be at most the learning rate, {config.lr}")
    schedule = schedules.build(config.schedule, **options.get(config.schedule, {}))
    return schedules.WarmUp(schedule, config.warmup) if config.warmup else schedule


def use_threads(threads: int | None) -> None:
    """Run the kernels on this number of threads (None: one per core that this process may use).

    TinyqError if a thread does not compute as IEEE-754 says, UsageError for more threads than MAX_THREADS.
    """
    if threads and threads > MAX_THREADS:
        raise UsageError(f"--threads {threads}: must be at most {MAX_THREADS}")
    if threads:
        _set_threads(threads)
    kernels.verify_arithmetic()


def _set_threads(threads: int) -> None:
    allow_threads(threads)
    try:
        kernels.set_threads(threads)
    except ValueError as error:
        raise UsageError(f"--threads {threads}: {error}; set NUMBA_NUM_THREADS in the environment") from None


def _needs_validation(config: Config) -> bool:
    return config.schedule == "plateau" or bool(config.pretrain_epochs) and config.pretrain_schedule == "plateau"


def _phase(name: str, config: Config, model: Module, method: Method, first_epoch: int) -> Phase:
    return Phase(name, method, optimizer_of(config, model), schedule_of(config), config.epochs, first_epoch)


@contextmanager
def _naming_options_of(component: str) -> Iterator[None]:
    """Replace a parameter of this method or dataset at the beginning of a UsageError by its flag."""
    try:
        yield
    except UsageError as error:
        word, space, rest = str(error).partition(" ")
        name = word.removesuffix(":")
        key = f"{component}.{name}" if name in options_of(component) else name
        if key not in known_keys():
            raise
        raise UsageError(f"--{key.replace('_', '-')}{word[len(name):]}{space}{rest}") from error


def _whole_numbers(text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 1:
        raise UsageError(f"--lr-steps {text}: give epochs, such as 30 or 30,60,90")
    return numbers
