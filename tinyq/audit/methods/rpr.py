"""RPR in the audit: its metrics and rules, and its step recomputed from methods/README.md, section 2."""
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, Protocol, cast

import numpy as np

from tinyq.audit.capture.capture import Captured
from tinyq.audit.methods.method_audit import MethodAudit, Metrics, Record, Rules, UpdateTerms
from tinyq.audit.methods.weight_levels import LevelChanges, QuantisedWeight, is_near_a_midpoint, nearest
from tinyq.levels import rounded_down
from tinyq.optim import Optimizer
from tinyq.streams import Streams


class Weight(QuantisedWeight, Protocol):
    """Public state of a weight under RPR; adds the entries that are relaxed."""

    relaxed: np.ndarray


class State(Protocol):
    """Public state of RPR."""

    weights: Sequence[Weight]
    optimizer: Optimizer
    last_step: Any

    @property
    def done(self) -> bool:
        """True at the schedule's end."""

    @property
    def fraction(self) -> Fraction:
        """The frozen fraction."""


class RPRMetrics(Metrics):
    """Metrics of RPR: the frozen fraction, digests of the frozen entries and of their moments, level changes."""

    def __init__(self, method: State, kind: str) -> None:
        """Count level changes at midpoints in units of the scale."""
        super().__init__(method, kind)
        self.state = method
        self.changes = LevelChanges(method.weights, [
            rounded_down(weight.level_set.midpoints, weight.parameter.dtype) for weight in method.weights])

    def step(self) -> Record:
        """Return the shared metrics, digests of the partition and of everything frozen, and the level changes."""
        return {**super().step(), "mask": self._mask, "frozen": self._frozen(), "flips": self.changes.count()}

    def epoch(self) -> Record:
        """Return the fraction, the counts of frozen entries, and digests of partition, frozen entries and scales."""
        scales = self.root([weight.scale for weight in self.state.weights])
        if self.state.done:
            return {"scales": scales}
        frozen = [~weight.relaxed for weight in self.state.weights]
        self._keep = [mask.astype(np.uint32).reshape(-1) * np.uint32(0xFFFFFFFF) for mask in frozen]
        self._mask = self.root([np.packbits(mask) for mask in frozen])
        return {"fraction": str(self.state.fraction), "mask": self._mask,
                "frozen_counts": [int(np.count_nonzero(mask)) for mask in frozen], "frozen": self._frozen(),
                "scales": scales}

    def _frozen(self):
        """The digest of the frozen latents and of the optimiser's memory of them."""
        arrays = []
        for weight, keep in zip(self.state.weights, self._keep, strict=True):
            optimizer = self.state.optimizer
            w, memory = weight.parameter.data, optimizer.memory_of(weight.parameter)
            remembered = [memory[key] if key in memory else np.zeros_like(w) for key in optimizer.arrays]
            arrays += [a.reshape(-1).view(np.uint32) & keep for a in (w, *remembered)]
        return self.root(arrays)


class RPRRules(Rules):
    """The frozen fraction never falls and ends at 1; its count of entries is exact, and nothing frozen moves."""

    def __init__(self, begin: Record, phase: Record) -> None:
        """Draw the first partition from the seed and compare it with the recorded one."""
        super().__init__(begin, phase)
        self.streams, self.epochs = Streams(self.settings["seed"]), 0
        self.first = list(self._partition(phase["metrics"]))

    def step(self, record: Record) -> Iterator[str]:
        """Check that partition, frozen entries and their moments are those of the epoch's beginning, bit for bit."""
        yield from self.first
        self.first = []
        yield from super().step(record)
        yield from self.unchanged(record, "mask", "frozen")

    def epoch(self, record: Record) -> Iterator[str]:
        """Check that the next partition is the one of its seed and epoch."""
        before, metrics = self.now, record["metrics"]
        self.epochs += 1
        yield from self.unchanged(record, "scales")
        if "fraction" not in before:
            yield "an epoch after the schedule's end"
        elif "fraction" in metrics:
            if Fraction(metrics["fraction"]) < Fraction(before["fraction"]):
                yield f"the frozen fraction fell from {before['fraction']} to {metrics['fraction']}"
            yield from self._partition(metrics)
        elif before["fraction"] != "1":
            yield f"the schedule ended at a frozen fraction of {before['fraction']}"
        yield from super().epoch(record)

    def _partition(self, metrics):
        fraction, masks = Fraction(metrics["fraction"]), []
        for name, frozen in zip(self.phase["constrained"], metrics["frozen_counts"], strict=True):
            shape = self.phase["tensors"][name]
            count = _frozen_count(fraction, math.prod(shape))
            mask = np.zeros(math.prod(shape), bool)
            mask[self.streams.key("rpr", name, self.epochs).permutation(mask.size)[:count]] = True
            masks.append(mask.reshape(shape))
            if frozen != count:
                yield f"{frozen} entries of {name} are frozen at a fraction of {fraction}"
        if self.root([np.packbits(mask) for mask in masks]) != metrics["mask"]:
            yield f"the partition of epoch {self.epochs} of the phase is not the one of its seed"


class RPRUpdate(UpdateTerms):
    """Update of the relaxed entries only."""

    def movable(self, captured: Captured, name: str) -> np.ndarray | None:
        """The relaxed entries of a constrained weight."""
        return next((weight.relaxed for weight in _state(captured).weights if weight.name == name), None)


def partitions(captured: Captured) -> Iterator[str]:
    """Check that the count of frozen entries is exact, and that they are on their levels and keep their bits."""
    method = _state(captured)
    for weight in method.weights:
        name, frozen = weight.name, ~weight.relaxed
        if np.count_nonzero(frozen) != _frozen_count(method.fraction, frozen.size):
            yield (f"{name}: {np.count_nonzero(frozen)} of {frozen.size} entries are frozen at a fraction of "
                   f"{method.fraction}")
        if (captured.before[name] != captured.after[name])[frozen].any():
            yield f"{name}: a frozen weight moved"
        for key, value in captured.memory_after[name].items():
            before = captured.memory_before[name].get(key, np.zeros_like(value))    # nothing before its first step
            if np.ndim(value) and (value != before)[frozen].any():
                yield f"{name}: the {key} of a frozen weight moved"
        yield from _effective(captured, weight, frozen)


def _effective(captured, weight, frozen):
    """Check that the layer computed with the level of frozen entries and the latent of relaxed ones."""
    w, name = captured.before[weight.name], weight.name
    expected = np.where(frozen, nearest(w, 1.0, weight.level_set), w.astype(np.float64))
    for application in captured.applications:
        if application.name == f"part_frozen of {name}":
            wrong = (application.output != expected) & ~(frozen & is_near_a_midpoint(w, 1.0, weight.level_set))
            if wrong.any():
                yield f"{name}: {np.count_nonzero(wrong)} effective weights are neither frozen on a level nor latent"


def _frozen_count(fraction, n):
    """floor(fraction * n + 1/2), exactly."""
    return math.floor(fraction * n + Fraction(1, 2))


def _state(captured) -> State:
    return cast(State, captured.phase.method)


AUDIT = MethodAudit(metrics=RPRMetrics, rules=RPRRules, update=RPRUpdate(), checks={"partitions": partitions})
