"""Audit what the methods share that quantise a float latent in every step: STE, BWN, TWN, TTQ and LQ-Nets."""
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, cast

import numpy as np

from tinyq.audit.capture.capture import Captured
from tinyq.audit.methods.method_audit import Metrics, Record, Rules
from tinyq.levels import LevelSet
from tinyq.nn import Parameter

RELATIVE = 1e-5                         # of scales, thresholds and slopes, which are computed in float32


class Weight(Protocol):
    """Public state of a weight whose latent is quantised in every step."""

    name: str
    parameter: Parameter
    level_set: LevelSet
    scale: np.ndarray
    quantizer: Any


class State(Protocol):
    """Public state of a method with such weights."""

    weights: Sequence[Weight]


class LatentMetrics(Metrics):
    """Metrics of latents: a digest of the scales, the level changes of a step, the weights on each level."""

    def __init__(self, method: State, kind: str) -> None:
        """Note the level of each weight."""
        super().__init__(method, kind)
        self.state = method
        self.codes = self._codes()

    def step(self) -> Record:
        """Return the shared metrics, the scales after the step, and how many weights changed their level in it."""
        before, self.codes = self.codes, self._codes()
        flips = sum(int(np.count_nonzero(a != b)) for a, b in zip(before, self.codes, strict=True))
        return {**super().step(), "scales": self._scales(), "flips": flips}

    def epoch(self) -> Record:
        """Return the scales, and per weight the number of its entries on each level."""
        occupied = [np.bincount(codes.reshape(-1), minlength=len(weight.level_set.levels)).tolist()
                    for codes, weight in zip(self._codes(), self.state.weights, strict=True)]
        return {"scales": self._scales(), "occupied": occupied}

    def _codes(self):
        return [weight.quantizer.codes(weight.parameter.data) for weight in self.state.weights]

    def _scales(self):
        return self.root([weight.scale for weight in self.state.weights])


class LatentRules(Rules):
    """No more weights change their level than there are; an epoch ends on the scales of its last step."""

    def __init__(self, begin: Record, phase: Record) -> None:
        """Start before the first step."""
        super().__init__(begin, phase)
        self.sizes = [math.prod(phase["tensors"][name]) for name in phase["constrained"]]
        self.scales = None
        self.placed = list(self._placed(phase["metrics"]))

    def step(self, record: Record) -> Iterator[str]:
        """Check the number of level changes."""
        yield from self.placed
        self.placed = []
        yield from super().step(record)
        metrics = record["metrics"]
        self.scales = metrics["scales"]
        if not 0 <= metrics["flips"] <= sum(self.sizes):
            yield f"{metrics['flips']} of {sum(self.sizes)} constrained weights changed their level"

    def epoch(self, record: Record) -> Iterator[str]:
        """Check that the epoch leaves the scales of its last step, and places every weight on one level."""
        metrics = record["metrics"]
        if self.scales is not None and metrics["scales"] != self.scales:
            yield f"the scales are {metrics['scales']}, after the last step {self.scales}"
        yield from self._placed(metrics)
        yield from super().epoch(record)

    def _placed(self, metrics):
        occupied = metrics["occupied"]
        if len(occupied) != len(self.sizes):
            yield f"{len(occupied)} of {len(self.sizes)} constrained tensors have counts of their levels"
        for name, counts, size in zip(self.phase["constrained"], occupied, self.sizes, strict=False):
            if min(counts) < 0 or sum(counts) != size:
                yield f"{sum(counts)} entries of {name} are on levels, it has {size}"


class Quantised(NamedTuple):
    """Quantisation of a weight by its paper, float64; broadcasts against the weight.

    thresholds: n - 1 on a last axis of their own.
    """

    scale: np.ndarray | float
    thresholds: np.ndarray
    slope: np.ndarray | float = 1.0


Definition = Callable[[np.ndarray, Any], Quantised]         # of the latent in float64 and the step's quantizer


def quantised_by(definition: Definition) -> Callable[[Captured], Iterator[str]]:
    """Return the check that every constrained weight was quantised, and got its gradient, by a definition."""

    def check(captured: Captured) -> Iterator[str]:
        for weight in cast(State, captured.phase.method).weights:
            w = captured.before[weight.name].astype(np.float64)
            expected = definition(w, captured.parametrizations[weight.name])
            for application in captured.applications:
                if application.name == f"straight_through of {weight.name}":
                    yield from _faults(application, weight.name, w, expected)

    return check


def by_filter(w: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return values (c_out,) with as many axes as w."""
    return np.asarray(values, np.float64).reshape(-1, *[1] * (w.ndim - 1))


def _faults(application, name, w, expected):
    scale, levels = application.params["scale"], application.params["levels"]
    if not np.allclose(scale, expected.scale, rtol=RELATIVE, atol=0):
        yield f"{name}: its scale is {_first(scale)}, by its definition {_first(np.asarray(expected.scale))}"
    above = w[..., None] > expected.thresholds
    near = np.abs(w[..., None] - expected.thresholds) <= RELATIVE * np.abs(w).max()
    wrong = (application.output != levels[above.sum(-1)]) & ~near.any(-1)
    if wrong.any():
        yield f"{name}: {np.count_nonzero(wrong)} effective weights are not at the level of their definition"
    if 0 in application.vjps:
        g, gx = application.vjps[0]
        due = g.astype(np.float64) / scale * expected.slope
        off = (np.abs(gx - due) > RELATIVE * np.abs(due)) & ~near.any(-1)
        if off.any():
            yield f"{name}: the gradient of {np.count_nonzero(off)} latent weights is not that of its definition"


def _first(values):
    return f"{float(np.reshape(values, -1)[0]):.6g}"
