"""The phases of a run: a method, its optimiser and its schedule, as the configuration says."""
import dataclasses
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tinyq import levels, schedules
from tinyq.errors import UsageError
from tinyq.levels import LayerLevels, LevelSet
from tinyq.methods import METHODS
from tinyq.methods.base import Method
from tinyq.nn import Module
from tinyq.optim import OPTIMIZERS, Optimizer, groups_by_decay
from tinyq.run.settings.config import Config, known_keys, options_of
from tinyq.schedules import EarlyStopping
from tinyq.tasks.loss import CROSS_ENTROPY, Loss
from tinyq.tasks.task import Task

BACKPROP, FLOAT_PHASE = "backprop", "float"
ONE_SET = (LevelSet, "LevelSet")        # annotations of a constructor that takes no sets per layer
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
    stopping: EarlyStopping = field(default_factory=EarlyStopping)      # early; the float network's phase never does

    def epoch_number(self, epoch: int) -> int:
        """Return the number of an epoch in lines and records; epoch: of this phase, from 0.

        Epochs are counted from 1, through all phases.
        """
        return self.first_epoch + epoch + 1


def config_after(config: Config, phase: str) -> Config:
    """Return the configuration that describes a network which this phase was the last to train."""
    return dataclasses.replace(config, method=BACKPROP, levels=None) if phase == FLOAT_PHASE else config


def phases_of(config: Config, model: Module, loss: Loss = CROSS_ENTROPY) -> list[Phase]:
    """Make the phases: backprop first, if there are epochs for it, then the configured method.

    loss: what they lower; a phase that takes no step needs none.
    """
    found = []
    if config.pretrain_epochs:
        given = {key: getattr(config, f"pretrain_{key}") for key in PHASE_SETTINGS}
        changes = {key: value for key, value in given.items() if value is not None}
        pretraining = dataclasses.replace(config, **changes)
        found.append(_phase(FLOAT_PHASE, pretraining, model, METHODS[BACKPROP](loss=loss), 0, loss.task))
    found.append(_phase(config.method, config, model, method_of(config, loss), config.pretrain_epochs, loss.task,
                        config.early_stopping))
    return found


def takes_levels(method: str) -> bool:
    """Return True if the constructor of the method takes the levels of the run."""
    return "levels" in inspect.signature(METHODS[method]).parameters


def method_of(config: Config, loss: Loss = CROSS_ENTROPY) -> Method:
    """Make the configured method with its options, and the settings of the run that its constructor takes."""
    chosen = levels.parse(config.levels) if config.levels else None
    offered = {"levels": chosen, "loss": loss, "epochs": config.epochs}
    asked = inspect.signature(METHODS[config.method]).parameters
    with naming_options_of(config.method):
        if isinstance(chosen, LayerLevels) and "levels" in asked and asked["levels"].annotation in ONE_SET:
            raise UsageError(f"levels {config.levels}: {config.method} takes one set for all layers (its constructor's "
                             "levels are a LevelSet, not Levels)")
        if "loss" not in asked and loss != CROSS_ENTROPY:
            raise UsageError(f"loss {config.loss}: with these settings has no effect on {config.method}, whose "
                             "constructor takes no loss")
        return METHODS[config.method](**config.options[config.method],
                                      **{k: v for k, v in offered.items() if k in asked})


def optimizer_of(config: Config, model: Module) -> Optimizer:
    """Make the configured optimiser; only one that has momentum gets it."""
    offered = {"momentum": config.momentum, "nesterov": config.nesterov}
    asked = inspect.signature(OPTIMIZERS[config.opt]).parameters
    groups = groups_by_decay(model.parameters(), config.weight_decay)
    return OPTIMIZERS[config.opt](groups, lr=config.lr, **{k: v for k, v in offered.items() if k in asked})


def schedule_of(config: Config, task: Task) -> schedules.Schedule:
    """Make the configured schedule over the epochs after the warm-up; a plateau is one of the task's best figure."""
    steps = _whole_numbers(config.lr_steps)
    options: dict[str, dict] = {"step": dict(size=steps[0], gamma=config.lr_gamma),
                                "multistep": dict(milestones=steps, gamma=config.lr_gamma),
                                "cosine": dict(epochs=max(config.epochs - config.warmup, 1e-9), minimum=config.lr_min),
                                "plateau": dict(mode="max" if task.higher else "min", factor=config.lr_gamma,
                                                patience=config.lr_patience, minimum=config.lr_min)}
    if config.lr_min > config.lr and config.schedule in ("cosine", "plateau"):
        raise UsageError(f"--lr-min {config.lr_min}: must be at most the learning rate, {config.lr}")
    schedule = schedules.build(config.schedule, **options.get(config.schedule, {}))
    return schedules.WarmUp(schedule, config.warmup) if config.warmup else schedule


def _phase(name: str, config: Config, model: Module, method: Method, first_epoch: int, task: Task,
           patience: int = 0) -> Phase:
    return Phase(name, method, optimizer_of(config, model), schedule_of(config, task), config.epochs, first_epoch,
                 EarlyStopping(patience, task.higher))


@contextmanager
def naming_options_of(component: str) -> Iterator[None]:
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
