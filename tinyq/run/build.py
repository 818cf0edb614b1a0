"""Build a job from a configuration: data, model, and the phases of training with their methods and optimisers."""
from dataclasses import dataclass

from tinyq import data, kernels, models
from tinyq.data import DataBundle, Dataset, Loader
from tinyq.errors import BadInput, UsageError
from tinyq.inputs.preparation import numbers
from tinyq.inputs.shapes import PHOTOGRAPHS
from tinyq.kernels.jit.cores import allow_threads
from tinyq.kernels.jit.variables import MAX_THREADS
from tinyq.nn import Module
from tinyq.own_code import RunCode, UserFunction
from tinyq.run.checkpoint import Position
from tinyq.run.checkpoint_network import attributes_of, load_start
from tinyq.run.phases import BACKPROP, Phase, naming_options_of, phases_of
from tinyq.run.readiness import check_constraint, check_smallest_batch, obstacle_to_packing
from tinyq.run.settings import plugins
from tinyq.run.settings.config import Config
from tinyq.run.weights_preparation import check_same_preparation
from tinyq.saved.run_folder import weights_file
from tinyq.streams import Streams
from tinyq.tasks.loss import Loss
from tinyq.tasks.loss_choice import make_loss


@dataclass(frozen=True, eq=False)
class Job:
    """Everything that a run works on."""

    config: Config
    bundle: DataBundle
    model: Module
    loader: Loader
    streams: Streams
    phases: list[Phase]
    loss: Loss
    starts_on_levels: bool          # --weights names a network that is constrained already
    reinitialised: list[str]        # its parameters that do not fit, made for another number of classes
    code: RunCode                   # the user's own code
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

    def new_model(self) -> Module:
        """Make the run's network once more, its weights zeros."""
        return models.build(self.code.functions.get("model") or self.config.model, self.bundle.num_classes,
                            self.bundle.input_shape, self.config.constrain, self.config.keep or "")


def build(config: Config, code: RunCode | None = None) -> Job:
    """Load the data, make and initialise the model, prepare the phases.

    code: the user's own code, if not that in the files which the configuration names.
    """
    use_threads(config.threads)
    code = code or RunCode.read(vars(config), plugins.active())
    plugins.activate(code.plugins)
    bundle = load_data(config, code)
    if bundle.train is None:
        place = "; it belongs in train/<class>/" if config.data in PHOTOGRAPHS else ""
        raise BadInput(f"--data {config.data}: there is no training part here{place}")
    if bundle.validation is None and _needs_validation(config):
        raise UsageError(f"--schedule plateau: {config.data} has no validation part with these settings, and nothing "
                         "else lowers the rate; choose another schedule or hold some samples back for validation")
    if bundle.validation is None and config.early_stopping:
        raise UsageError(f"--early-stopping: {config.data} has no validation part with these settings, and "
                         "nothing else says when to stop; leave it out, or hold some samples back for validation")
    streams = Streams(config.seed)
    network = code.functions.get("model")
    model = models.build(network or config.model, bundle.num_classes, bundle.input_shape, config.constrain,
                         config.keep or "")
    if config.method != BACKPROP:
        check_constraint(config, model)                     # before hours of pretraining
    model.initialise(streams)
    starts_on_levels, reinitialised = (_start_from_weights(config, model, bundle, network) if config.weights
                                       else (False, []))
    loss = loss_of(config, bundle, code)
    loader = Loader(bundle.train, config.batch_size, streams, shuffle=True, augment=True, workers=config.workers)
    check_smallest_batch(model, bundle.input_shape, loader.smallest, config.batch_size)
    phases = phases_of(config, model, loss)
    unpackable = obstacle_to_packing(model, bundle.input_shape) if network and config.method != BACKPROP else ""
    kernels.return_freed_memory()                           # initialising took more memory than the weights need
    return Job(config, bundle, model, loader, streams, phases, loss, starts_on_levels, reinitialised, code, unpackable)


def _start_from_weights(config: Config, model: Module, bundle: DataBundle,
                        network: UserFunction | None) -> tuple[bool, list[str]]:
    """Load the weights of the configuration; UsageError where their inputs were prepared otherwise."""
    path = weights_file(config.weights or "")
    if config.weights_preparation == "same":
        check_same_preparation(path, attributes_of(path), config, bundle)
    return load_start(path, model, network or config.model)


def load_data(config: Config, code: RunCode) -> DataBundle:
    """Load the configured dataset with its options; code: the user's own."""
    offered = {"workers": config.workers}
    options = {k: v for k, v in offered.items() if k in data.options_of(config.dataset)}
    with naming_options_of(config.dataset):
        return data.load(code.functions.get("data") or config.data, config.data_path, mean=numbers("mean", config.mean),
                         std=numbers("std", config.std), **options, **config.options[config.dataset])


def loss_of(config: Config, bundle: DataBundle, code: RunCode) -> Loss:
    """Make the configured loss for the data; its errors are those of make_loss."""
    function = code.functions.get("loss")
    parts = {name: getattr(bundle, name) for name in ("train", "validation", "test")}
    labels = {name: part.labels for name, part in parts.items() if part is not None}
    with naming_options_of(config.data):
        return make_loss(vars(config), bundle.targets, bundle.num_classes, labels, function.call if function else None)


def steps_are_used_up(job: Job, position: Position) -> bool:
    """Return True if --max-steps forbids the next step; an epoch whose steps are all done is still completed."""
    most = job.config.max_steps
    return most is not None and position.steps >= most and position.batch < len(job.loader)


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
