"""Group runs that differ in their seed alone, and name what differs between runs and between groups."""
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tinyq.compare.run_record import Run, number_or_none
from tinyq.tasks.task import FIGURE_NAMES

UNKNOWN = "?"                           # a setting of a run whose config.toml cannot be read


@dataclass(frozen=True)
class Figure:
    """A number of a run: its key, its heading and its format."""

    key: str
    title: str
    layout: str = "{:.4g}"

    def shown(self, value: object) -> str:
        """Return the value as text, "-" where there is none."""
        number = number_or_none(value)
        return "-" if number is None else self.layout.format(number)


@dataclass(frozen=True)
class Group:
    """Runs with the same settings but for the seed; number: from 1; label: settings that tell it from other groups."""

    number: int
    label: str
    runs: list[Run]

    @property
    def seeds(self) -> str:
        """List the seeds of the runs."""
        return ", ".join(setting_of(run, "seed") for run in self.runs)

    def spread(self, figure: Figure) -> "Spread | None":
        """Return mean and range of a figure over the runs that have it, finished ones alone if there are any.

        None where no run has it.
        """
        finished = [run for run in self.runs if run.state == "finished"]
        return spread_of(value for run in finished or self.runs
                         if (value := number_or_none(figures_of(run).get(figure.key))) is not None)


@dataclass(frozen=True)
class Spread:
    """Mean, lowest and highest of some numbers."""

    mean: float
    low: float
    high: float
    count: int

    def shown(self, figure: Figure) -> str:
        """Return "mean (lowest to highest)"; the number alone where there is one."""
        mean = figure.shown(self.mean)
        return mean if self.count == 1 else f"{mean} ({figure.shown(self.low)} to {figure.shown(self.high)})"


FIGURES = (
    Figure("epochs", "epochs", "{:,}"), Figure("steps", "steps", "{:,}"), Figure("loss", "loss", "{:.4f}"),
    Figure("validation_error", "validation error", "{:.2%}"), Figure("best_validation_error", "best error", "{:.2%}"),
    Figure("test_error_float", "float test error", "{:.2%}"), Figure("test_error", "test error", "{:.2%}"),
    Figure("bytes_packed", "packed bytes", "{:,}"), Figure("seconds", "seconds", "{:,.0f}"))


def spread_of(values: Iterable[float]) -> Spread | None:
    """Return mean and range of numbers; None for none."""
    found = list(values)
    if not found:
        return None
    mean = math.fsum(value / len(found) for value in found)
    return Spread(min(max(mean, min(found)), max(found)), min(found), max(found), len(found))


def figures_of(run: Run) -> dict[str, object]:
    """Return the figures of a run by key: of its result, and of its last epoch; errors, not accuracies."""
    last, result = run.epochs[-1] if run.epochs else {}, run.result
    found = {key: value for key, value in last.items() if key.startswith("validation_")}
    test = _error(result.get("test_accuracy"))
    found |= {"epochs": len(run.epochs), "steps": result.get("steps", last.get("step")), "loss": last.get("loss"),
              "best_validation_error": _best(run.epochs), "bytes_packed": result.get("bytes_packed"),
              "test_error": last.get("test_error") if test is None else test,
              "test_error_float": _error(result.get("test_accuracy_float")),
              "seconds": result.get("seconds", last.get("seconds"))}
    found |= {f"test_{name}": result.get(f"test_{name}") for name in FIGURE_NAMES if name not in ("accuracy", "loss")}
    return found


def figures_in(runs: Sequence[Run]) -> list[Figure]:
    """Return the figures that some run has, those of other tasks among them."""
    held = [{key for key, value in figures_of(run).items() if number_or_none(value) is not None} for run in runs]
    keys = set().union(*held)
    others = sorted(key for key in keys if key.startswith(("validation_", "test_")) and key not in
                    ("validation_error", "validation_accuracy", "test_error", "test_error_float"))
    return [figure for figure in FIGURES if figure.key in keys] + [
        Figure(key, key.replace("_", " ")) for key in others]


def differing_settings(runs: Sequence[Run]) -> list[str]:
    """Return the names of settings whose values differ among the runs with a readable configuration."""
    known = [run.settings for run in runs if run.settings]
    names = dict.fromkeys(name for settings in known for name in settings)
    return [name for name in names if len({settings.get(name) for settings in known}) > 1]


def setting_of(run: Run, name: str) -> str:
    """Return the value of a setting as text, "-" where it is not set."""
    return run.settings.get(name, "-") if run.settings else UNKNOWN


def groups_of(runs: Sequence[Run]) -> list[Group]:
    """Group the runs, in the order of the first run of each; one without a readable configuration is by itself."""
    found: dict[object, list[Run]] = {}
    for run in runs:
        settings = tuple((key, value) for key, value in sorted(run.settings.items()) if key != "seed")
        found.setdefault(settings or run.folder, []).append(run)
    names = _telling([members[0] for members in found.values()], [
        name for name in differing_settings(runs) if name != "seed"]) or ["model", "data", "method"]
    return [Group(number, _label(members[0], names), members) for number, members in enumerate(found.values(), 1)]


def _telling(runs: list[Run], names: list[str]) -> list[str]:
    """Return the first of the names whose values tell these runs apart, each of which tells more of them apart."""
    chosen: list[str] = []
    for name in names:
        if _count(runs, [*chosen, name]) > _count(runs, chosen):
            chosen.append(name)
    return chosen


def _count(runs: list[Run], names: list[str]) -> int:
    return len({tuple(setting_of(run, name) for name in names) for run in runs})


def _label(run: Run, names: list[str]) -> str:
    return ", ".join(f"{name} {run.settings[name]}" for name in names if name in run.settings) or run.name


def _best(epochs: list[dict]) -> float | None:
    """Return the lowest validation error of the last phase."""
    phase = epochs[-1].get("phase") if epochs else None
    errors = [number for record in epochs if record.get("phase") == phase
              and (number := number_or_none(record.get("validation_error"))) is not None]
    return min(errors, default=None)


def _error(accuracy: object) -> float | None:
    number = number_or_none(accuracy)
    return None if number is None else 1 - number
