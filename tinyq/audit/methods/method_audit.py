"""Audit of one training method; the defaults suit a method that only follows a gradient.

A method's file subclasses what differs and makes one MethodAudit of it. It reads the method's public state and
recomputes the rest from the equations of methods/README.md: it never imports the method that it checks.
"""
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinyq.audit.capture.capture import Captured
from tinyq.audit.ledger.digests import digest_of
from tinyq.levels import LevelSet

Record = dict[str, Any]                 # of the ledger
Arrays = dict[str, np.ndarray]          # by name


class Metrics:
    """Numbers and digests of the method in the records of its steps and epochs, besides gradients and weights."""

    def __init__(self, method: Any, kind: str) -> None:
        """method: one that has begun; kind: of digests, a key of digests.KINDS."""
        self.method, self.kind = method, kind

    def step(self) -> Record:
        """Metrics of the step just done."""
        last = self.method.last_step
        decisions = {} if last.decisions == last.samples else {"decisions": last.decisions}
        return {"loss": last.loss.hex(), "objective": last.objective.hex(), "correct": last.correct,
                "samples": last.samples, **decisions}

    def epoch(self) -> Record:
        """Return the metrics of the state in which the next epoch, or the first one, begins."""
        return {}

    def root(self, arrays: list[np.ndarray]) -> str:
        """The digest of a list of arrays."""
        return digest_of(self.kind, arrays).root


class Rules:
    """Rules from record to record: an epoch's metrics are the sums of its steps', and all numbers are finite.

    Each method yields a line per violation.
    """

    def __init__(self, begin: Record, phase: Record) -> None:
        """begin: record 0; phase: the phase's own record."""
        self.begin, self.settings, self.phase = begin, begin["settings"], phase
        self.now = phase["metrics"]             # metrics that the steps to come must agree with
        self.loss, self.objective = 0.0, 0.0
        self.samples, self.correct, self.decisions, self.steps = 0, 0, 0, 0

    def step(self, record: Record) -> Iterator[str]:
        """Violations of a step's record."""
        metrics = record["metrics"]
        objective = float.fromhex(metrics["objective"])
        if not math.isfinite(objective):
            yield f"the objective is {objective}"
        if "loss" in metrics:
            loss, samples = float.fromhex(metrics["loss"]), metrics["samples"]
            decisions = metrics.get("decisions", samples)
            if not math.isfinite(loss) or not 0 <= metrics["correct"] <= decisions:
                yield f"a loss of {loss}, {metrics['correct']} of {decisions} right"
            self.loss, self.samples = self.loss + loss * samples, self.samples + samples
            self.correct, self.decisions = self.correct + metrics["correct"], self.decisions + decisions
        self.objective, self.steps = self.objective + objective, self.steps + 1

    def epoch(self, record: Record) -> Iterator[str]:
        """Violations of an epoch's record."""
        measured = record["measured"]
        if self.samples and self.steps:
            for name, value in (("loss", self.loss / self.samples), ("train_objective", self.objective / self.steps)):
                if name in measured and measured[name] != value.hex():
                    yield f"{name} is {measured[name]}, the mean over its steps {value.hex()}"
            accuracy = self.correct / self.decisions if self.decisions else None
            if "accuracy" in measured and measured["accuracy"] != (None if accuracy is None else accuracy.hex()):
                yield "the training accuracy is not that of its steps"
        self.now = record["metrics"]
        self._reset_sums()

    def unchanged(self, record: Record, *names: str) -> Iterator[str]:
        """A violation for each of these metrics that differs from the epoch's beginning."""
        metrics = record["metrics"]
        return (f"{name} is {metrics.get(name)}, was {self.now[name]}" for name in names
                if metrics.get(name) != self.now[name])

    def root(self, arrays: list[np.ndarray]) -> str:
        """The digest of a list of arrays, of the ledger's kind."""
        return digest_of(self.begin["audit"], arrays).root

    def _reset_sums(self):
        self.loss, self.objective = 0.0, 0.0
        self.samples, self.correct, self.decisions, self.steps = 0, 0, 0, 0


class UpdateTerms:
    """Terms that the method adds to the optimiser's update of one parameter, recomputed to the bit.

    Each function returns the result and the terms that made it, by name.
    """

    def handed(self, captured: Captured, name: str, gradient: np.ndarray) -> tuple[np.ndarray, Arrays]:
        """The gradient given to the optimiser, from the one that backward made."""
        return gradient, {}

    def movable(self, captured: Captured, name: str) -> np.ndarray | None:
        """The entries that the optimiser may move, bool; None for all."""
        return None

    def projected(self, captured: Captured, name: str, stepped: np.ndarray) -> tuple[np.ndarray, Arrays]:
        """The weight after the step, from the one that the optimiser made."""
        return stepped, {}


def no_arrays(method: Any, samples: int = 0) -> Arrays:
    """Arrays of a method whose steps leave none of their own."""
    return {}


def no_lines(captured: Captured, name: str, index: tuple[int, ...]) -> list[str]:
    """Say nothing of a weight of a method whose steps have no gradient."""
    return []


def as_configured(configured: LevelSet, levels: np.ndarray) -> bool:
    """Return True for the configured levels, as float32."""
    return np.array_equal(levels, configured.values.astype(np.float32))


@dataclass(frozen=True)
class MethodAudit:
    """All that the audit does for one training method.

    checks: {what is examined: function of a Captured that yields faults}, for `audit check`.
    arrays: function of the method, what its last step leaves for a dump besides gradients and weights.
    expected_arrays: function of (method, samples), arrays of the same shapes before any step.
    explain: function of (Captured, name, index), lines about one weight, for methods without gradients.
    levels: function of (configured LevelSet, levels of a tensor (n,) float32), whether the method may end on them.
    begin_reads_data: the method's `begin` needs the training samples, even to continue from a state.
    """

    metrics: type[Metrics] = Metrics
    rules: type[Rules] = Rules
    checks: dict[str, Callable[[Captured], Iterator[str]]] = field(default_factory=dict)
    update: UpdateTerms = UpdateTerms()
    arrays: Callable[[Any], Arrays] = no_arrays
    expected_arrays: Callable[[Any, int], Arrays] = no_arrays
    explain: Callable[[Captured, str, tuple[int, ...]], list[str]] = no_lines
    levels: Callable[[LevelSet, np.ndarray], bool] = as_configured
    begin_reads_data: bool = False
