"""What a method's own step must satisfy beside the gradient: shown levels, constraint function, partition, moves."""
from fractions import Fraction

import numpy as np

from tinyq.autodiff import Tensor
from tinyq.methods import CBP, RPR, CoNNTrA
from tinyq.methods.rpr.partition import frozen_count


def examine(captured) -> dict[str, list[str]]:
    """{what was examined: faults} of the step of one method."""
    return {what: found for kind, checks in CHECKS.items() if isinstance(captured.phase.method, kind)
            for what, rule in checks.items() for found in [list(rule(captured))]}


def _applied(captured, name):
    return [a for a in captured.applications if a.primitive.name == name]


def _nearest(w, scale, level_set):
    """Nearest level with ties to the lower one, by distances in float64: no threshold, no kernel."""
    x = w.astype(np.float64) / np.asarray(scale, np.float64)
    distances = np.abs(x[..., None] - level_set.values)
    return level_set.values[distances.argmin(-1)]           # the first of several equal ones is the lower


def _beside_a_midpoint(w, scale, level_set):
    x = w.astype(np.float64) / np.asarray(scale, np.float64)
    return (np.abs(x[..., None] - level_set.midpoints) < 1e-6).any(-1)


def _shown_levels(captured):
    """Every constrained weight was shown at its nearest level."""
    for application in _applied(captured, "straight_through"):
        name = application.name.partition(" of ")[2]
        layer = next(layer for layer in captured.phase.method.weights if layer.name == name)
        w, level_set = application.inputs[0], layer.view.level_set
        wrong = application.output != _nearest(w, layer.scale, level_set)
        wrong &= ~_beside_a_midpoint(w, layer.scale, level_set)
        if wrong.any():
            yield f"{name}: {np.count_nonzero(wrong)} weights were not shown at their nearest level"
        yield from _ties(layer, level_set)


def _ties(layer, level_set):
    """A weight halfway between two levels is shown at the lower one."""
    view = type(layer.view)(level_set, np.ones_like(layer.view.scale))
    ties = np.tile(level_set.midpoints.astype(np.float32), (1, 1))
    exact = ties.astype(np.float64) == level_set.midpoints
    shown, _ = view(Tensor(ties))
    if (shown.data != level_set.values[:-1].astype(np.float32))[exact].any():
        yield f"{layer.name}: a tie was not given to the lower level"


def _constraint_function(captured):
    """cs and its slope by the definition, in float64, with the window that g says."""
    method = captured.phase.method
    for layer in method.weights:
        w = captured.before[layer.name].astype(np.float64)
        q = layer.levels.astype(np.float64)
        expected, slope = _sawtooth(w, q, 1 - 1 / method.g)
        cs, found = layer.sawtooth(captured.before[layer.name])
        u, size = 1e-5, np.abs(q).max() + np.abs(w).max()
        close = (np.abs(cs - expected) > u * size) & ~_near_an_edge(w, q, 1 - 1 / method.g, u * size)
        turned = (found != slope) & ~_near_an_edge(w, q, 1 - 1 / method.g, u * size)
        if close.any():
            yield f"{layer.name}: the constraint function is off at {np.count_nonzero(close)} weights"
        if turned.any():
            yield f"{layer.name}: the slope of the constraint function is off at {np.count_nonzero(turned)} weights"
        if (layer.multiplier.data < 0).any():
            yield f"{layer.name}: a multiplier is negative"
        if np.abs(captured.after[layer.name]).max() > 1:
            yield f"{layer.name}: a latent weight left [-1, 1]"
    penalty = sum(float(np.sum(layer.multiplier.data.astype(np.float64)
                               * _sawtooth(captured.before[layer.name].astype(np.float64),
                                           layer.levels.astype(np.float64), 1 - 1 / method.g)[0]))
                  for layer in method.weights)
    said = method.last_step.objective - method.last_step.loss
    if not captured.auxiliary and abs(penalty - said) > 1e-4 * (1 + abs(penalty)):
        yield f"the constraint term is {said:.6g}, by its definition {penalty:.6g}"


def _sawtooth(w, q, u):
    cs = np.where(w < q[0], -2 * (w - q[0]), 2 * (w - q[-1]))
    slope = np.where(w < q[0], -2.0, 2.0)
    for low, high in zip(q, q[1:], strict=False):
        inside = (w >= low) & (w < high)
        middle = (low + high) / 2
        rising, falling = w < low + (middle - low) * u, w >= high + (middle - high) * u
        cs = np.where(inside, np.where(rising, 2 * (w - low), np.where(falling, 2 * (high - w), 0.0)), cs)
        slope = np.where(inside, np.where(rising, 2.0, np.where(falling, -2.0, 0.0)), slope)
    return cs, slope


def _near_an_edge(w, q, u, width):
    edges = [*q, *(low + ((low + high) / 2 - low) * u for low, high in zip(q, q[1:], strict=False)),
             *(high + ((low + high) / 2 - high) * u for low, high in zip(q, q[1:], strict=False))]
    return (np.abs(w[..., None] - np.array(edges)) < width).any(-1)


def _partition(captured):
    """Exactly so many entries are frozen, on their levels; nothing of them moves, moments included."""
    method = captured.phase.method
    fraction = Fraction(method.ramp.fractions[min(method.stage, len(method.ramp.fractions) - 1)])
    for layer in method.weights:
        name, frozen = layer.name, ~layer.relaxed
        if np.count_nonzero(frozen) != frozen_count(fraction, frozen.size):
            yield f"{name}: {np.count_nonzero(frozen)} of {frozen.size} entries are frozen at a fraction of {fraction}"
        if (captured.before[name] != captured.after[name])[frozen].any():
            yield f"{name}: a frozen weight moved"
        for key, value in captured.memory_after[name].items():
            before = captured.memory_before[name].get(key, np.zeros_like(value))    # before its first step: nothing
            if np.ndim(value) and (value != before)[frozen].any():
                yield f"{name}: the {key} of a frozen weight moved"
        level_set = layer.unit_view.level_set
        shown = {a.name.partition(" of ")[2]: a.output for a in _applied(captured, "part_frozen")}
        w = captured.before[name]
        expected = np.where(frozen, _nearest(w, np.ones(()), level_set), w.astype(np.float64))
        if name in shown:
            wrong = (shown[name] != expected) & ~(frozen & _beside_a_midpoint(w, np.ones(()), level_set))
            if wrong.any():
                yield f"{name}: {np.count_nonzero(wrong)} weights were shown neither frozen on a level nor as they are"


def _moves(captured):
    """The error the search keeps is the one that the network, run as a whole, makes; every parameter is on a level."""
    method = captured.phase.method
    visits, search = method.visited, method.search
    if (np.diff(visits.errors) > 0).any():
        yield "the error rose at a visit"
    last_least = visits.tried.shape[1] - 1 - visits.tried[:, ::-1].argmin(1) if len(visits.picks) else visits.codes
    for k in np.flatnonzero(visits.codes != last_least)[:1]:
        yield (f"visit {k} chose level {visits.codes[k]} of errors {visits.tried[k].tolist()}, Algorithm 2 chooses "
               f"{last_least[k]}")
    changed = [name for name in captured.before if (captured.before[name] != captured.after[name]).any()]
    count = sum(np.count_nonzero(captured.before[name] != captured.after[name]) for name in changed)
    if count > np.count_nonzero(visits.moved):
        yield f"{count} parameters changed in {np.count_nonzero(visits.moved)} moves"
    for name, p in captured.model.named_parameters():
        levels = (p.parametrization.scale * p.parametrization.level_set.values.astype(p.dtype)).astype(p.dtype)
        if not np.isin(p.data, levels).all():
            yield f"{name}: a parameter is off its levels"
    yield from _literal(search, visits)


def _literal(search, visits):
    """Algorithm 2 to the letter at the last visits' parameters: no level makes a smaller error than the one kept."""
    if not hasattr(search, "held") or not len(visits.picks):
        return
    from tinyq.kernels.reference.search import visit as literal

    held = type(search.held)(*(np.array(a) if isinstance(a, np.ndarray) else a for a in search.held))
    every = np.arange(max(held.kept_narrow.shape[1], held.kept_wide.shape[1]))
    error = literal.recompute(every, held)
    if error != search.error():
        yield f"the error kept is {search.error()}, the network run as a whole makes {error}"
    codes, errors, _, tried = literal.visit(visits.picks[-1:], held)
    if codes[0] != visits.codes[-1] or errors[0] != visits.errors[-1]:
        yield (f"the last visit left parameter {visits.picks[-1]} at level {visits.codes[-1]} with error "
               f"{visits.errors[-1]}, Algorithm 2 at {codes[0]} with {errors[0]}")
    if (tried[0] != visits.tried[-1]).any():
        yield (f"the last visit, of {visits.picks[-1]}, found its levels' errors {visits.tried[-1].tolist()}, "
               f"the network run as a whole makes {tried[0].tolist()}")


CHECKS = {CBP: {"shown levels": _shown_levels, "constraint functions": _constraint_function},
          RPR: {"partitions": _partition}, CoNNTrA: {"sweeps": _moves}}
