"""The three kinds of tasks, by their targets: which figures are measured, and by which one epochs are compared."""
import math
from dataclasses import dataclass

from tinyq.inputs.targets import CLASSES, LABELS, NUMBERS


@dataclass(frozen=True)
class Task:
    """A kind of task.

    kind: of its targets, one of tinyq.inputs.targets. figures: names of what result.json says of a split, besides
    its name. best: name of the figure by which epochs are compared; higher: True if more of it is better.
    """

    kind: str
    figures: tuple[str, ...]
    best: str
    higher: bool

    def better(self, value: float, than: float | None) -> bool:
        """Return True if a figure `best` is better than another one, or than none; a NaN or infinity is not."""
        return math.isfinite(value) and (than is None or (value > than if self.higher else value < than))


CLASSIFICATION = Task(CLASSES, ("accuracy",), "accuracy", True)
REGRESSION = Task(NUMBERS, ("loss", "mean_squared_error", "r2"), "loss", False)
SEVERAL_LABELS = Task(LABELS, ("mean_average_precision", "accuracy", "label_accuracy"), "mean_average_precision", True)
TASKS = {task.kind: task for task in (CLASSIFICATION, REGRESSION, SEVERAL_LABELS)}
LOSS_NAMES = CROSS_ENTROPY, MSE, BCE = "cross-entropy", "mse", "bce"


def task_of(loss: str, targets: str) -> Task:
    """Return the task of a loss on targets of a kind; floats are probabilities, numbers or labels as the loss says.

    loss: a name of LOSS_NAMES, or another one for a user's own, whose task follows from the targets alone.
    """
    if targets not in TASKS or targets == CLASSES:
        return CLASSIFICATION
    return {CROSS_ENTROPY: CLASSIFICATION, MSE: REGRESSION, BCE: SEVERAL_LABELS}.get(loss, TASKS[targets])


# In words, in the order in which they are shown.
FIGURE_NAMES = {"mean_average_precision": "mean average precision", "accuracy": "accuracy", "loss": "loss",
                "mean_squared_error": "mean squared error", "r2": "R2"}
# How result.json names a figure of a split, and what was measured.
SPLITS = (("validation_{}", "validation, constrained network"), ("test_{}_float", "test, float network"),
          ("test_{}", "test, constrained network"))
SHARES = ("accuracy", "mean_average_precision", "error")


def figure_text(name: str, value: float | None) -> str:
    """Write a figure for the screen: a share in percent, another one as a number; "-" for none."""
    if value is None:
        return "-"
    return f"{value:.2%}" if name in SHARES else f"{value:.4g}"


def shown_of(figures: dict, layout: str = "{}") -> list[str]:
    """Return the names of the figures to show of a table that holds them under layout.format(name)."""
    return [name for name in FIGURE_NAMES if name != "loss" and layout.format(name) in figures]


def in_words(figures: dict) -> str:
    """Return a line of these figures, with the error for an accuracy."""
    pairs = [("error", 1 - figures[name]) if name == "accuracy" else (name, figures[name])
             for name in shown_of(figures)]
    return ", ".join(f"{FIGURE_NAMES.get(name, name)} {figure_text(name, value)}" for name, value in pairs)
