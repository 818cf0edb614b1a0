"""CBP in the audit: its metrics and rules, and its step recomputed from methods/README.md, section 1."""
import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, cast

import numpy as np

from tinyq import kernels
from tinyq.audit.capture.capture import Captured
from tinyq.audit.methods.method_audit import Arrays, MethodAudit, Metrics, Record, Rules, UpdateTerms
from tinyq.audit.methods.weight_levels import LevelChanges, QuantisedWeight, is_near_a_midpoint, nearest
from tinyq.autodiff import Tensor
from tinyq.levels import rounded_down

# The published constants, written a second time: gradients' and weights' bounds, and the growth of g.
CLIP, BOUND, FAST_FROM = 1.0, 1.0, 10


class Weight(QuantisedWeight, Protocol):
    """Public state of a weight under CBP; adds levels in weight units, multipliers and the constraint function."""

    levels: np.ndarray
    multiplier: Tensor
    sawtooth: Any
    quantizer: Any


class State(Protocol):
    """Public state of CBP."""

    weights: Sequence[Weight]
    g: int
    epochs_since_fired: int
    last_step: Any


class CBPMetrics(Metrics):
    """Metrics of CBP: g, the multipliers (a digest per step, their sum per epoch), the scales, level changes."""

    def __init__(self, method: State, kind: str) -> None:
        """Count level changes at midpoints in weight units."""
        super().__init__(method, kind)
        self.state = method
        self.changes = LevelChanges(method.weights, [
            rounded_down(np.multiply.outer(np.asarray(weight.scale, np.float64), weight.level_set.midpoints),
                         weight.parameter.dtype) for weight in method.weights])

    def step(self) -> Record:
        """Return the shared metrics, g, the multipliers' digest and the level changes."""
        return {**super().step(), "g": self.state.g, "lambda": self._multipliers(), "flips": self.changes.count()}

    def epoch(self) -> Record:
        """Return g, the multipliers' digest and sum, the scales, and the epochs since the schedule fired."""
        total = 0.0
        for weight in self.state.weights:
            total += kernels.sum(weight.multiplier.data.reshape(-1), (0,)).item()
        return {"g": self.state.g, "lambda": self._multipliers(), "lambda_sum": total.hex(),
                "scales": self.root([weight.scale for weight in self.state.weights]),
                "since_fired": self.state.epochs_since_fired}

    def _multipliers(self):
        return self.root([weight.multiplier.data for weight in self.state.weights])


class CBPRules(Rules):
    """Multipliers change only where the schedule fires and never fall; g grows by its rule, and only then."""

    def __init__(self, begin: Record, phase: Record) -> None:
        """Start with a schedule that has not fired yet."""
        super().__init__(begin, phase)
        self.previous, self.since = math.inf, 0

    def step(self, record: Record) -> Iterator[str]:
        """Check that multipliers and g are those of the epoch's beginning, and the constraint term is not negative."""
        yield from super().step(record)
        yield from self.unchanged(record, "g", "lambda")
        metrics = record["metrics"]
        if float.fromhex(metrics["objective"]) < float.fromhex(metrics["loss"]):
            yield "the constraint term is negative"
        count = sum(math.prod(self.phase["tensors"][name]) for name in self.phase["constrained"])
        if not 0 <= metrics["flips"] <= count:
            yield f"{metrics['flips']} of {count} constrained weights changed their level"

    def epoch(self, record: Record) -> Iterator[str]:
        """Check that the schedule fired if and only if it was due, and changed g and multipliers by its rules."""
        before, metrics, measured = self.now, record["metrics"], record["measured"]
        lagrangian = float.fromhex(measured["lagrangian"])
        if lagrangian != self.objective:
            yield f"the Lagrangian is {lagrangian}, the sum over its steps {self.objective}"
        self.since += 1
        due = lagrangian >= self.previous or self.since >= self.settings["cbp.period"]
        if measured["fired"] != due:
            yield f"the schedule {'fired' if measured['fired'] else 'did not fire'} against its rule"
        self.previous, self.since = (math.inf, 0) if measured["fired"] else (lagrangian, self.since)
        if metrics["g"] != (self._next(before["g"]) if measured["fired"] else before["g"]):
            yield f"g went from {before['g']} to {metrics['g']}"
        if not measured["fired"]:
            yield from self.unchanged(record, "lambda", "lambda_sum")
        if float.fromhex(metrics["lambda_sum"]) < float.fromhex(before["lambda_sum"]):
            yield "the sum of the multipliers fell"
        if float.fromhex(measured["cfs"]) < 0:
            yield "the constraint failure is negative"
        yield from self.unchanged(record, "scales")
        yield from super().epoch(record)

    def _next(self, g):
        step, largest = 1 if g < FAST_FROM else FAST_FROM, self.settings["cbp.g_max"]
        return g + step if largest is None else max(g, min(g + step, largest))


class CBPUpdate(UpdateTerms):
    """handed = clip(gradient + lambda cs'(w)); after = clamp(stepped), constrained weights only."""

    def handed(self, captured: Captured, name: str, gradient: np.ndarray) -> tuple[np.ndarray, Arrays]:
        """Add the constraint term to a constrained weight's gradient, and bound every entry."""
        terms, weight = {}, _weight(captured, name)
        if weight is not None:
            terms["constraint"] = _slope(weight, captured.before[name]) * weight.multiplier.data
            gradient = gradient + terms["constraint"]
        clipped = _bounded(gradient, CLIP)
        return clipped, {**terms, "clip": clipped - gradient}

    def projected(self, captured: Captured, name: str, stepped: np.ndarray) -> tuple[np.ndarray, Arrays]:
        """Clamp a constrained weight."""
        if _weight(captured, name) is None:
            return stepped, {}
        after = _bounded(stepped, BOUND)
        return after, {"projection": after - stepped}


def quantised_weights(captured: Captured) -> Iterator[str]:
    """Check that every constrained weight was quantised to its nearest level."""
    for application in captured.applications:
        weight = _weight(captured, application.name.partition("straight_through of ")[2])
        if weight is not None:
            w, level_set = application.inputs[0], weight.level_set
            wrong = application.output != nearest(w, weight.scale, level_set)
            wrong &= ~is_near_a_midpoint(w, weight.scale, level_set)
            if wrong.any():
                yield f"{weight.name}: {np.count_nonzero(wrong)} effective weights are not at their nearest level"
            yield from _ties(weight)


def _ties(weight):
    """Check that a weight halfway between two levels goes to the lower one."""
    level_set, quantizer = weight.level_set, type(weight.quantizer)(weight.level_set, np.ones_like(weight.scale))
    ties = np.tile(level_set.midpoints.astype(np.float32), (1, 1))
    exact = ties.astype(np.float64) == level_set.midpoints
    quantised, _ = quantizer(Tensor(ties))
    if (quantised.data != level_set.values[:-1].astype(np.float32))[exact].any():
        yield f"{weight.name}: a tie was not given to the lower level"


def constraint_functions(captured: Captured) -> Iterator[str]:
    """Check cs, its slope and the objective against their definitions in float64, with the window of this g."""
    method, penalty = _state(captured), 0.0
    for weight in method.weights:
        before, q, u = captured.before[weight.name], weight.levels.astype(np.float64), 1 - 1 / method.g
        w = before.astype(np.float64)
        expected, slope = _sawtooth(w, q, u)
        cs, found = weight.sawtooth(before)
        allowed = 1e-5 * (np.abs(q).max() + np.abs(w).max())
        inner = ~_is_near_an_edge(w, q, u, allowed)
        off, turned = (np.abs(cs - expected) > allowed) & inner, (found != slope) & inner
        if off.any():
            yield f"{weight.name}: the constraint function is off at {np.count_nonzero(off)} weights"
        if turned.any():
            yield f"{weight.name}: the slope of the constraint function is off at {np.count_nonzero(turned)} weights"
        if (weight.multiplier.data < 0).any():
            yield f"{weight.name}: a multiplier is negative"
        if np.abs(captured.after[weight.name]).max() > BOUND:
            yield f"{weight.name}: a latent weight left [-1, 1]"
        penalty += float(np.sum(weight.multiplier.data.astype(np.float64) * expected))
    said = method.last_step.objective - method.last_step.loss - method.last_step.auxiliary
    if abs(penalty - said) > 1e-4 * (1 + abs(penalty)):
        yield f"the constraint term is {said:.6g}, by its definition {penalty:.6g}"


def _sawtooth(w, q, u):
    """(cs, cs') by the definition, u = 1 - 1 / g."""
    cs = np.where(w < q[0], -2 * (w - q[0]), 2 * (w - q[-1]))
    slope = np.where(w < q[0], -2.0, 2.0)
    for low, high in zip(q, q[1:], strict=False):
        inside = (w >= low) & (w < high)
        middle = (low + high) / 2
        rising, falling = w < low + (middle - low) * u, w >= high + (middle - high) * u
        cs = np.where(inside, np.where(rising, 2 * (w - low), np.where(falling, 2 * (high - w), 0.0)), cs)
        slope = np.where(inside, np.where(rising, 2.0, np.where(falling, -2.0, 0.0)), slope)
    return cs, slope


def _is_near_an_edge(w, q, u, width):
    edges = [*q, *(low + ((low + high) / 2 - low) * u for low, high in zip(q, q[1:], strict=False)),
             *(high + ((low + high) / 2 - high) * u for low, high in zip(q, q[1:], strict=False))]
    return (np.abs(w[..., None] - np.array(edges)) < width).any(-1)


def _slope(weight, w):
    """cs'(w) in float32, from the definition of cs and the weight's own levels and window."""
    saw, two = weight.sawtooth, np.float32(2)
    slope = np.where(w < saw.levels[0], -two, two)
    for level, rise_end, fall_start in zip(saw.levels[1:], saw.rise_end, saw.fall_start, strict=True):
        slope = np.where(w >= rise_end, np.float32(0), slope)
        slope = np.where(w >= level, two, np.where(w >= fall_start, -two, slope))
    return slope


def _bounded(x, bound):
    return np.where(x < -bound, np.float32(-bound), np.where(x > bound, np.float32(bound), x))


def _state(captured) -> State:
    return cast(State, captured.phase.method)


def _weight(captured, name):
    return next((weight for weight in _state(captured).weights if weight.name == name), None)


AUDIT = MethodAudit(metrics=CBPMetrics, rules=CBPRules, update=CBPUpdate(),
                    checks={"effective levels": quantised_weights, "constraint functions": constraint_functions})
