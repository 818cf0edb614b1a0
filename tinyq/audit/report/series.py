"""Measure every tensor at a step of a replay: norms, cosines, flips and occupancy of the levels."""
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tinyq.audit.capture.capture import Captured
from tinyq.audit.step.update_terms import cosine, norm, updates_of


@dataclass
class Point:
    """The metrics of one step, by tensor name; None where a ratio or cosine is undefined."""

    step: int
    phase: str
    epoch: int
    gradient: dict[str, float] = field(default_factory=dict)        # norm of the gradient given to the optimiser
    ratio: dict[str, float | None] = field(default_factory=dict)    # norm of the update / norm of the weight
    flips: dict[str, int] = field(default_factory=dict)             # weights whose nearest level changed
    distance: dict[str, float] = field(default_factory=dict)        # mean distance to the nearest level, in scales
    cosine: dict[str, float | None] = field(default_factory=dict)   # of true and surrogate gradient
    descent: dict[str, float | None] = field(default_factory=dict)  # of the update and the negative true gradient
    occupancy: dict[str, dict[float, float]] = field(default_factory=dict)  # share of the weights nearest to a level
    terms: dict[str, dict[str, float]] = field(default_factory=dict)    # norms of the update's terms


def point_of(captured: Captured) -> Point:
    """Measure a captured step."""
    point = Point(captured.step, captured.phase.name, captured.epoch + 1)
    if captured.phase.method.uses_gradients:
        _of_update(point, captured)
    for name, p in captured.model.named_parameters():
        if p.parametrization is not None:
            _of_levels(point, name, p.parametrization, captured.before[name], captured.after[name])
    return point


def _of_update(point, captured):
    for name, update in updates_of(captured).items():
        point.gradient[name] = norm(captured.handed[name])
        size = norm(captured.before[name])
        point.ratio[name] = norm(update.terms["step"]) / size if size else None
        point.terms[name] = {term: norm(array) for term, array in update.terms.items()}
        point.descent[name] = cosine(update.terms["true"], -update.terms["step"])
        if "surrogate" in update.terms:
            point.cosine[name] = cosine(update.terms["true"], update.terms["surrogate"])


def _of_levels(point, name, parametrization, before, after):
    levels, normalised = parametrization.level_set, parametrization.normalised(after)
    codes, old = parametrization.codes(after), parametrization.codes(before)
    point.flips[name] = int(np.count_nonzero(codes != old))
    point.distance[name] = float(levels.distance(normalised).mean())
    shares = (np.bincount(codes.reshape(-1), minlength=len(levels.values)) / codes.size).tolist()
    point.occupancy[name] = dict(zip(levels.levels, shares, strict=True))


def evenly(steps: Sequence[int], count: int) -> list[int]:
    """Choose at most `count` of the steps, evenly spread, including the first and the last."""
    if len(steps) <= count:
        return list(steps)
    return [steps[round(i * (len(steps) - 1) / (count - 1))] for i in range(count)]
