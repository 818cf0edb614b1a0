"""Learning-rate schedules with torch's semantics, rates as functions of a base and the epoch; early stopping.

An epoch may be a fraction, so a schedule can be followed step by step. `Plateau` and `EarlyStopping` have a state, the
validation metrics; calling `rate` never changes it. Powers are repeated products and the cosine is our own, so a
schedule has the same bits on every machine.
"""
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tinyq import portable
from tinyq.errors import BadInput, UsageError, did_you_mean
from tinyq.optim import Optimizer


class Schedule:
    """The base rate, unchanged; the other schedules override `rate`."""

    def rate(self, base: float, epoch: float) -> float:
        """Return the learning rate at this (fractional) epoch."""
        return base

    def apply(self, optimizer: Optimizer, epoch: float) -> None:
        """Set every group's learning rate from its `base_lr`."""
        for group in optimizer.groups:
            group["lr"] = float(self.rate(group["base_lr"], epoch))

    def observe(self, metric: float) -> None:
        """Record a validation metric at the end of an epoch."""

    def state(self) -> dict[str, float]:
        """Return the state that a resume needs: {name: number}."""
        return {}

    def load_state(self, state: Mapping[str, float]) -> None:
        """Restore a `state`."""


@dataclass(frozen=True)
class Step(Schedule):
    """Multiply by gamma every `size` epochs (torch's StepLR)."""

    size: int
    gamma: float = 0.1

    def __post_init__(self) -> None:
        """Raise UsageError for a size below 1."""
        _require(self.size >= 1, f"step schedule: size is {self.size}; it must be at least 1")

    def rate(self, base: float, epoch: float) -> float:
        """Return base times gamma once for every `size` epochs passed."""
        return _times(base, self.gamma, int(epoch // self.size))


@dataclass(frozen=True)
class MultiStep(Schedule):
    """Multiply by gamma at each milestone (torch's MultiStepLR)."""

    milestones: tuple[int, ...]
    gamma: float = 0.1

    def rate(self, base: float, epoch: float) -> float:
        """Return base times gamma once for every milestone reached."""
        return _times(base, self.gamma, sum(epoch >= milestone for milestone in self.milestones))


@dataclass(frozen=True)
class Cosine(Schedule):
    """From the base to `minimum` along half a cosine over `epochs` (torch's CosineAnnealingLR)."""

    epochs: float
    minimum: float = 0.0

    def __post_init__(self) -> None:
        """Raise UsageError unless `epochs` is above 0."""
        _require(self.epochs > 0, f"cosine schedule: epochs is {self.epochs}; it must be above 0")

    def rate(self, base: float, epoch: float) -> float:
        """minimum + (base - minimum) (1 + cos(pi epoch / epochs)) / 2."""
        cosine = float(portable.cos(portable.PI * (epoch / self.epochs)))
        return self.minimum + (base - self.minimum) * (1 + cosine) / 2


@dataclass(frozen=True)
class WarmUp(Schedule):
    """A straight line from start * base to base over `epochs`, then another schedule from its epoch 0.

    Torch's SequentialLR of a LinearLR and the other.
    """

    schedule: Schedule
    epochs: float
    start: float = 1 / 3

    def __post_init__(self) -> None:
        """Raise UsageError unless `epochs` is above 0."""
        _require(self.epochs > 0, f"warm-up: epochs is {self.epochs}; it must be above 0")

    def rate(self, base: float, epoch: float) -> float:
        """Return the rate on the line before `epochs`, and the other schedule's rate after it."""
        if epoch >= self.epochs:
            return self.schedule.rate(base, epoch - self.epochs)
        return base * (self.start + (1 - self.start) * (epoch / self.epochs))

    def observe(self, metric: float) -> None:
        """Pass the metric on to the other schedule."""
        self.schedule.observe(metric)

    def state(self) -> dict[str, float]:
        """Return the state of the other schedule."""
        return self.schedule.state()

    def load_state(self, state: Mapping[str, float]) -> None:
        """Restore the state of the other schedule."""
        self.schedule.load_state(state)


_BETTER = {
    ("min", "rel"): lambda metric, best, threshold: metric < best * (1 - threshold),
    ("min", "abs"): lambda metric, best, threshold: metric < best - threshold,
    ("max", "rel"): lambda metric, best, threshold: metric > best * (1 + threshold),
    ("max", "abs"): lambda metric, best, threshold: metric > best + threshold,
}


@dataclass
class Plateau(Schedule):
    """Multiply by `factor` when a metric has not improved for `patience` epochs (torch's ReduceLROnPlateau)."""

    mode: str = "min"
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    threshold_mode: str = "rel"
    cooldown: int = 0
    minimum: float = 0.0
    eps: float = 1e-8

    best: float = field(init=False)
    bad_epochs: int = field(init=False, default=0)
    cooling: int = field(init=False, default=0)
    reductions: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        """Raise UsageError for an unknown mode or a factor that does not reduce the rate."""
        modes = (self.mode, self.threshold_mode)
        _require(modes in _BETTER, f"plateau schedule: no mode {modes}; choose from {sorted(_BETTER)}")
        _require(self.factor < 1, f"plateau schedule: factor is {self.factor}; it must be below 1")
        self.best = math.inf if self.mode == "min" else -math.inf

    def rate(self, base: float, epoch: float) -> float:
        """Return base * factor for every reduction so far, but at least `minimum`."""
        for _ in range(self.reductions):
            reduced = max(base * self.factor, self.minimum)
            base = reduced if base - reduced > self.eps else base
        return base

    def observe(self, metric: float) -> None:
        """Count the epochs without progress; a NaN is no progress."""
        better = _BETTER[self.mode, self.threshold_mode](metric, self.best, self.threshold)
        self.best = float(metric) if better else self.best
        self.bad_epochs = 0 if better or self.cooling else self.bad_epochs + 1
        self.cooling = max(self.cooling - 1, 0)
        if self.bad_epochs > self.patience:
            self.reductions += 1
            self.bad_epochs, self.cooling = 0, self.cooldown

    def state(self) -> dict[str, float]:
        """Return the best metric and the three counters."""
        return {"best": self.best, "bad_epochs": self.bad_epochs, "cooling": self.cooling,
                "reductions": self.reductions}

    def load_state(self, state: Mapping[str, float]) -> None:
        """Restore a `state`; BadInput if it does not fit."""
        try:
            self.best, *counts = float(state["best"]), *(int(state[n]) for n in ("bad_epochs", "cooling", "reductions"))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise BadInput(f"the schedule's state does not fit: {type(error).__name__}: {error}") from None
        self.bad_epochs, self.cooling, self.reductions = counts


@dataclass
class EarlyStopping:
    """Stop after `patience` epochs without a better validation figure; 0 never stops.

    Better is above (below unless `higher`) every figure of the phase before, as for best.h5, whose epoch is therefore
    the last better one.
    """

    patience: int = 0
    higher: bool = True
    best: float = field(init=False)
    stale: int = field(init=False, default=0)           # epochs since the best one

    def __post_init__(self) -> None:
        """Start with the worst figure."""
        self.best = -math.inf if self.higher else math.inf

    @property
    def done(self) -> bool:
        """True when the phase is to end."""
        return 0 < self.patience <= self.stale

    def observe(self, figure: float) -> None:
        """Count an epoch with this validation figure."""
        better = math.isfinite(figure) and (figure > self.best if self.higher else figure < self.best)
        self.best, self.stale = (float(figure), 0) if better else (self.best, self.stale + 1)

    def state(self) -> dict[str, float]:
        """Return the state that a resume needs: {name: number}, {} where nothing ever stops."""
        return {"best": self.best, "stale": self.stale} if self.patience else {}

    def load_state(self, state: Mapping[str, float]) -> None:
        """Restore a `state`; BadInput if it does not fit."""
        if not self.patience:
            return
        try:
            self.best, self.stale = float(state["best"]), int(state["stale"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise BadInput(f"the state of early stopping does not fit: {type(error).__name__}: {error}") from None


SCHEDULES = {"constant": Schedule, "step": Step, "multistep": MultiStep, "cosine": Cosine, "plateau": Plateau}


def build(name: str, **options: Any) -> Schedule:
    """Make a schedule by name; UsageError, with the nearest name, if there is none."""
    if name not in SCHEDULES:
        raise UsageError(f"schedule {name!r}: no such schedule; {did_you_mean(name, SCHEDULES)}")
    return SCHEDULES[name](**options)


def _times(base: float, gamma: float, count: int) -> float:
    """Multiply base by gamma `count` times, in the order of torch's recursion."""
    for _ in range(count):
        base *= gamma
    return base


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UsageError(message)
