"""Define the protocol of a training method, and the base class of the methods that follow a gradient.

A constructor only stores hyper-parameters. `begin` makes the state in public attributes: the audit and the tests read
them, and `state` saves them.
"""
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from tinyq.errors import BadInput, UsageError
from tinyq.methods.gradient_step import Batch, Step, gradient_step
from tinyq.nn import Module, Parameter
from tinyq.optim import Optimizer
from tinyq.streams import Streams
from tinyq.tasks.loss import CROSS_ENTROPY, Loss

Numbers = dict[str, float]              # ints and bools among them


class Column(NamedTuple):
    """A number of a run's records that progress lines show: name in the record, label, format, meaning."""

    name: str
    label: str
    format: str
    meaning: str


# Those of every method; the method's own come after them.
COMMON_COLUMNS = (
    Column("objective", "objective", "{:.4f}", "mean of what the method lowers, over the steps of the epoch so far"),
    Column("loss", "loss", "{:.4f}", "mean loss of the training batches, each before its update"),
    Column("error", "error", "{:.2%}", "share of these samples that are classified wrongly; of several labels, share "
           "of the wrong decisions"),
    Column("validation_error", "validation", "{:.2%}", "the same of the validation samples, after the epoch"),
    Column("validation_mean_average_precision", "mAP", "{:.2%}", "several labels: mean average precision on the "
           "validation samples"),
    Column("validation_mean_squared_error", "MSE", "{:.4g}", "regression: mean squared error on the "
           "validation samples"),
    Column("validation_r2", "R2", "{:.4f}", "regression: 1 - squared errors / squared deviations from the mean, on the "
           "validation samples"),
    Column("test_error", "test", "{:.2%}", "error on the test samples, with --watch-test"),
    Column("test_mean_average_precision", "test mAP", "{:.2%}", "the same mean average precision of the test samples"),
    Column("test_mean_squared_error", "test MSE", "{:.4g}", "mean squared error on the test samples"),
    Column("lr", "lr", "{:.2g}", "learning rate of the epoch's last step"),
)


class Data(Protocol):
    """Training samples: their number, and any of them by index."""

    def __len__(self) -> int:
        """Count the samples."""

    def batch(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (x, y) of the samples with these indices."""


class Method(Protocol):
    """A training method. The training loop uses only this interface and knows no method by name."""

    uses_gradients: ClassVar[bool]              # a step runs forward, backward and the optimiser
    constrains_everything: ClassVar[bool]       # every parameter ends on a level, biases included
    columns: ClassVar[tuple[Column, ...]]       # what progress lines show besides loss, error and learning rate

    @property
    def done(self) -> bool:
        """True when nothing is left to do: the loop may stop before its last epoch."""

    @property
    def notice(self) -> str:
        """A line to print between `begin` and the first step; or ""."""

    def begin(self, model: Module, optimizer: Optimizer, data: Data, streams: Streams,
              state: dict | None = None) -> None:
        """Take over the model's constrained parameters; continue from `state` if given, else start.

        With `state`, the model already holds the weights that belong to it, and the optimizer its own state.
        """

    def step(self, batches: Sequence[Batch]) -> float:
        """Change the weights once from a list of micro-batches (x, y); return the objective that it lowers."""

    def so_far(self) -> Numbers:
        """{name: number} of the current epoch, for the progress bar."""

    def end_epoch(self, validation: Numbers | None = None) -> Numbers:
        """Do the work between epochs, given validation metrics; return {name: number} for the record."""

    def finish(self) -> None:
        """Leave every constrained weight bit-equal to scale * level, under a fixed LevelQuantizer."""

    def state(self) -> dict:
        """Copy what a bit-exact resume needs besides model and optimizer: {name: array, number or bool}."""

    def load_state(self, state: dict) -> None:
        """Continue from a `state`; BadInput lists what does not fit."""


@dataclass
class Sums:
    """Sums over the steps of the current epoch, computed on the training batches before each update.

    loss is summed over samples, objective over steps; correct and decisions are counts (Step).
    """

    loss: float = 0.0
    correct: int = 0
    decisions: int = 0
    samples: int = 0
    objective: float = 0.0
    steps: int = 0

    def add(self, step: Step) -> None:
        """Count one step."""
        self.loss += step.loss * step.samples
        self.correct += step.correct
        self.decisions += step.decisions
        self.samples += step.samples
        self.objective += step.objective
        self.steps += 1

    def means(self) -> Numbers:
        """Return the averages: loss over samples, objective over steps, and accuracy where something is decided.

        {} before the first step.
        """
        if not self.steps:
            return {}
        accuracy = {"train_accuracy": self.correct / self.decisions} if self.decisions else {}
        return {"train_loss": self.loss / self.samples, **accuracy, "train_objective": self.objective / self.steps}


def constrained_weights(model: Module, method: str) -> list[tuple[str, Parameter]]:
    """Return (dotted name, Parameter) of every weight to constrain; UsageError if there is none."""
    found = model.constrained_parameters()
    if not found:
        raise UsageError(f"{method}: {type(model).__name__} has no weight to constrain (the first and the last layer "
                         "stay float); with constrain \"all\" those are constrained too")
    return found


def check_everything(model: Module, method: str) -> None:
    """Raise UsageError if a weight is to stay float, for a method that constrains everything."""
    if not all(p.constrained for p in model.parameters() if p.ndim > 1):
        raise UsageError(f"constrain must be \"all\", and keep empty: {method} puts every parameter on a level")


def check_state(state: dict, shapes: dict[str, tuple[int, ...]]) -> None:
    """Raise BadInput, with every difference, unless the state has each name of `shapes` with that shape."""
    problems = [f"missing {name}" for name in shapes if name not in state]
    problems += [f"{name} is {np.shape(state[name])}, must be {shape}" for name, shape in shapes.items()
                 if name in state and np.shape(state[name]) != shape]
    if problems:
        raise BadInput("the method's state does not fit this network: " + "; ".join(problems))


@dataclass
class GradientMethod:
    """Base class of methods that follow a gradient: the bookkeeping that backprop, CBP and RPR share.

    A subclass overrides `start` and `update`, and names its own numbers in STATE.
    loss: of a batch, with the kind of task that it serves.
    State: model, optimizer, streams; sums, of the epoch; last_step, a Step.
    """

    loss: Loss = field(default=CROSS_ENTROPY, kw_only=True)

    STATE: ClassVar[dict[str, type]] = {}           # attributes that are saved: plain numbers, by name and type
    stronger_pull: ClassVar[str] = ""               # parameter to raise where weights end far from their levels
    uses_gradients: ClassVar[bool] = True
    constrains_everything: ClassVar[bool] = False
    columns: ClassVar[tuple[Column, ...]] = ()
    audit: ClassVar[Any] = None                     # of a plug-in's method: its tinyq.audit.methods.MethodAudit

    @property
    def done(self) -> bool:
        """True when nothing is left to do; never, unless a subclass says so."""
        return False

    @property
    def notice(self) -> str:
        """Nothing to print before the first step."""
        return ""

    def begin(self, model: Module, optimizer: Optimizer, data: Data, streams: Streams,
              state: dict | None = None) -> None:
        """Take over the model; continue from `state` if given, else start."""
        self.model, self.optimizer, self.streams, self.sums = model, optimizer, streams, Sums()
        if state is None:
            self.start()
        else:
            self.load_state(state)

    def start(self) -> None:
        """Make the state that a run begins with."""

    def step(self, batches: Sequence[Batch]) -> float:
        """Update the weights once; return the objective."""
        self.last_step = self.update(batches)
        self.sums.add(self.last_step)
        return self.last_step.objective

    def update(self, batches: Sequence[Batch]) -> Step:
        """Take the gradient step; a subclass adds its own part."""
        return gradient_step(self.model, self.optimizer, batches, loss=self.loss)

    def so_far(self) -> Numbers:
        """Return the mean objective of the epoch's steps."""
        return {"objective": self.sums.objective / max(self.sums.steps, 1)}

    def end_epoch(self, validation: Numbers | None = None) -> Numbers:
        """Return the averages of the epoch and reset its sums."""
        record, self.sums = self.sums.means(), Sums()
        return record

    def finish(self) -> None:
        """Do nothing: no weight is constrained."""

    def state(self) -> dict:
        """Return the sums of the epoch and the numbers of STATE."""
        return {**{f"sums/{f.name}": getattr(self.sums, f.name) for f in fields(Sums)},
                **{name: getattr(self, name) for name in self.STATE}}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each entry of a `state`, for load_state to check."""
        return dict.fromkeys((*(f"sums/{f.name}" for f in fields(Sums)), *self.STATE), ())

    def load_state(self, state: dict) -> None:
        """Continue from a `state`; BadInput lists what does not fit."""
        check_state(state, self.shapes())
        self.sums = Sums(float(state["sums/loss"]), int(state["sums/correct"]), int(state["sums/decisions"]),
                         int(state["sums/samples"]), float(state["sums/objective"]), int(state["sums/steps"]))
        for name, kind in self.STATE.items():
            setattr(self, name, kind(state[name]))
