"""One block of samples: carry the change of one parameter from stage to stage (kernels/search/visit.py).

Every function is compiled for each type of units that a stage can have (int32, float64) and for either input.
"""
from typing import NamedTuple

import numpy as np

from tinyq.kernels.jit.compile import njit
from tinyq.kernels.jit.intrinsics import borrowed
from tinyq.kernels.search import unit_rows as rows
from tinyq.kernels.search.stages import activate, affine_of, copy_channel
from tinyq.kernels.search.tables import (
    BLOCK,
    C_IN,
    C_OUT,
    INPUT,
    KH,
    KW,
    OH,
    OUTPUT,
    OW,
    PAD_X,
    PAD_Y,
    STRIDE_X,
    STRIDE_Y,
    SUMS,
    WEIGHTS,
    WIDE,
    H,
    W,
)


class Scratch(NamedTuple):
    """A block's units under a candidate, and their differences from the stored ones."""

    narrow: np.ndarray                  # (units, BLOCK) int32, as are the differences
    wide: np.ndarray                    # float64
    delta_narrow: np.ndarray
    delta_wide: np.ndarray
    changed: np.ndarray                 # (2, units) int64: outputs of a stage that differ; of the next one
    differs: np.ndarray                 # (2, units) bool: which of the written channels' outputs they are
    channels: np.ndarray                # (stages, max channels) int64: those written, their number in the next
    written: np.ndarray                 # (stages,) int64
    tap_units: np.ndarray               # (max inputs,) int64: of one sum, the inputs that changed, and their weights
    tap_narrow: np.ndarray
    tap_wide: np.ndarray
    leaders: np.ndarray                 # of the logits, as in Search
    terms: np.ndarray
    reference: np.ndarray
    spare: np.ndarray                   # (2, BLOCK) float32
    steps: np.ndarray                   # (levels,) float64: how far each level is from the one that a parameter has
    narrow_steps: np.ndarray            # int32


class Change(NamedTuple):
    """One parameter: its stage, its output channel o and its tap (c, u, v); c may be one of the negative ones below."""

    stage: int
    o: int
    c: int
    u: int
    v: int


BIAS_OF, GAMMA_OF, BETA_OF = -1, -2, -3


def new_scratch(search, tasks):
    """Scratch for `tasks` tasks at a time, along the first axis of every array."""
    narrow, wide, stages = search.kept_narrow.shape[1], search.kept_wide.shape[1], search.stages
    units, channels = max(narrow, wide), stages[:, C_OUT].max()
    shapes = [((narrow, BLOCK), np.int32), ((wide, BLOCK), np.float64)] * 2 + [
        ((2, units), np.int64), ((2, units), np.bool_), ((len(stages), channels), np.int64), (len(stages), np.int64),
        (units, np.int64), (units, np.int32), (units, np.float64), (search.leaders.shape[1:], np.int32),
        (search.terms.shape[1:], np.float32), (BLOCK, np.float64),
        ((2, BLOCK), np.float32), (len(search.levels), np.float64), (len(search.levels), np.int32)]
    return Scratch(*(np.empty((tasks, *np.atleast_1d(shape)), dtype) for shape, dtype in shapes))


@njit
def of_task(scratch, task):
    """Return the scratch of one task; its arrays must not outlive the whole."""
    return borrowed(Scratch(
        scratch.narrow[task], scratch.wide[task], scratch.delta_narrow[task], scratch.delta_wide[task],
        scratch.changed[task], scratch.differs[task], scratch.channels[task], scratch.written[task],
        scratch.tap_units[task], scratch.tap_narrow[task], scratch.tap_wide[task], scratch.leaders[task],
        scratch.terms[task], scratch.reference[task], scratch.spare[task], scratch.steps[task],
        scratch.narrow_steps[task]))


@njit
def carry(search, b, change, step, scratch):
    """Change one parameter by `step` in block b and carry it towards the logits.

    Returns how many stages were written to the scratch, counted from the first of the network: all of them, and one
    more if some logit changed; fewer where the change died out. Only the channels in scratch.channels are written.
    """
    kept_narrow, kept_wide = search.kept_narrow[b], search.kept_wide[b]
    narrow, wide = scratch.narrow, scratch.wide
    stage = search.stages[change.stage]
    if stage[WIDE]:
        if change.stage > 0 and not search.stages[change.stage - 1, WIDE]:
            n = _begin_with(search, kept_narrow, kept_wide, wide, scratch.delta_wide, change, step, scratch)
        else:
            n = _begin_with(search, kept_wide, kept_wide, wide, scratch.delta_wide, change, step, scratch)
    else:
        n = _begin_with(search, kept_narrow, kept_narrow, narrow, scratch.delta_narrow, change, np.int32(step), scratch)
    for k in range(change.stage + 1, len(search.stages)):
        if n == 0:
            return k
        if not search.stages[k, WIDE]:
            n = _spread(search, k, n, scratch.delta_narrow, search.narrow, scratch.tap_narrow, kept_narrow,
                        narrow, scratch.delta_narrow, scratch)
        elif search.stages[k - 1, WIDE]:
            n = _spread(search, k, n, scratch.delta_wide, search.wide, scratch.tap_wide, kept_wide, wide,
                        scratch.delta_wide, scratch)
        else:
            n = _spread(search, k, n, scratch.delta_narrow, search.wide, scratch.tap_wide, kept_wide, wide,
                        scratch.delta_wide, scratch)
    return len(search.stages) + (n > 0)


@njit
def keep(search, b, change, reached, scratch):
    """Store the units that `carry` left in the scratch; `reached` is its result."""
    for k in range(change.stage, min(reached, len(search.stages))):
        stage = search.stages[k]
        for o in scratch.channels[k, :scratch.written[k]]:
            if stage[WIDE]:
                copy_channel(scratch.wide, search.kept_wide[b], stage, o)
            else:
                copy_channel(scratch.narrow, search.kept_narrow[b], stage, o)


@njit
def complete(kept, new, stage, channels):
    """Copy to the new logits those of the classes that are not in `channels`, ascending."""
    at = 0
    for k in range(stage[C_OUT]):
        if at < len(channels) and channels[at] == k:
            at += 1
        else:
            rows.copy(new[stage[OUTPUT] + k], kept[stage[OUTPUT] + k])


@njit
def _begin_with(search, source, kept, new, delta, change, step, scratch):
    """Compute the changed channel of the stage that the parameter belongs to; return how many of its outputs differ."""
    stage, which = search.stages[change.stage], change.stage & 1
    scratch.channels[change.stage, 0], scratch.written[change.stage] = change.o, 1
    if not _change(source, kept, new, stage, change, step):
        scratch.written[change.stage] = 0
        return 0
    factor, offset, gamma, beta = affine_of(stage, change.o, search.wide, search.norms)
    affine = factor, offset, gamma + step * (change.c == GAMMA_OF), beta + step * (change.c == BETA_OF)
    return activate(kept, new, delta, scratch.changed[which], scratch.differs[which], 0, stage, change.o, affine)


@njit
def _change(source, kept, new, stage, change, step):
    """The sums of the changed channel: those kept, plus step times the input under the tap (or step, for a bias).

    Returns whether any of them may differ.
    """
    differs = change.c < 0
    for oy in range(stage[OH]):
        iy = oy * stage[STRIDE_Y] - stage[PAD_Y] + change.u
        for ox in range(stage[OW]):
            ix = ox * stage[STRIDE_X] - stage[PAD_X] + change.v
            z = stage[SUMS] + (change.o * stage[OH] + oy) * stage[OW] + ox
            if change.c < 0:
                rows.add_constant(new[z], kept[z], step * (change.c == BIAS_OF))
                continue
            x = stage[INPUT] + (change.c * stage[H] + iy) * stage[W] + ix
            if 0 <= iy < stage[H] and 0 <= ix < stage[W] and not rows.is_zero(source[x]):
                rows.add_product(new[z], kept[z], step, source[x])
                differs = True
            else:
                rows.copy(new[z], kept[z])
    return differs


@njit
def _spread(search, k, n, delta, weights, tap_weights, kept, new, new_delta, scratch):
    """Carry n changed outputs of stage k - 1 through stage k; returns how many of its outputs differ.

    delta: the differences of its inputs; weights, tap_weights, kept, new and new_delta are of its own type.
    """
    stage, norms, before, after = search.stages[k], search.norms, (k - 1) & 1, k & 1
    sources, differs = scratch.changed[before, :n], scratch.differs[before]
    inputs = scratch.channels[k - 1, :scratch.written[k - 1]]
    scratch.written[k] = found = 0
    for o in range(stage[C_OUT]):
        if stage[OH] * stage[OW] == 1 and stage[KH] * stage[KW] == 1:
            taps = _connected(sources, weights, stage[WEIGHTS] + o * stage[C_IN], scratch.tap_units, tap_weights)
            if taps == 0:
                continue
            z = stage[SUMS] + o
            rows.add_products(new[z], kept[z], tap_weights, scratch.tap_units, stage[INPUT], taps, delta)
        else:
            _convolve(inputs, differs, delta, weights, tap_weights, scratch.tap_units, kept, new, stage, o)
        scratch.channels[k, scratch.written[k]] = o
        scratch.written[k] += 1
        affine = affine_of(stage, o, weights, norms)
        found = activate(kept, new, new_delta, scratch.changed[after], scratch.differs[after], found, stage, o, affine)
    return found


@njit
def _connected(sources, weights, first, tap_units, tap_weights):
    """Find the changed inputs of a full connection's output, whose weights start at `first`; return their number."""
    taps = 0
    for unit in sources:
        w = weights[first + unit]
        tap_units[taps], tap_weights[taps] = unit, w
        taps += w != 0
    return taps


@njit
def _convolve(inputs, differs, delta, weights, tap_weights, tap_units, kept, new, stage, o):
    """All sums of channel o of a convolution whose input channels `inputs` changed, where `differs` says."""
    for oy in range(stage[OH]):
        for ox in range(stage[OW]):
            top, left = oy * stage[STRIDE_Y] - stage[PAD_Y], ox * stage[STRIDE_X] - stage[PAD_X]
            taps = 0
            for c in inputs:
                first = stage[WEIGHTS] + (o * stage[C_IN] + c) * stage[KH] * stage[KW]
                for iy in range(max(top, 0), min(top + stage[KH], stage[H])):
                    for ix in range(max(left, 0), min(left + stage[KW], stage[W])):
                        unit = (c * stage[H] + iy) * stage[W] + ix
                        w = weights[first + (iy - top) * stage[KW] + ix - left]
                        tap_units[taps], tap_weights[taps] = unit, w
                        taps += differs[unit] & (w != 0)
            z = stage[SUMS] + (o * stage[OH] + oy) * stage[OW] + ox
            rows.add_products(new[z], kept[z], tap_weights, tap_units, stage[INPUT], taps, delta)
