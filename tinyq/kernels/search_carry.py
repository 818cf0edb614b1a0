"""One block of samples: a changed weight, and what changes with it from stage to stage (kernels/search.py).

Every function is compiled for the types a stage has: int32 or float64 units, with input of either.
"""
from typing import NamedTuple

import numpy as np

from tinyq.kernels import search_rows as rows
from tinyq.kernels.borrowed import borrowed
from tinyq.kernels.compile import njit
from tinyq.kernels.search_layout import (
    BIAS,
    BLOCK,
    C_IN,
    C_OUT,
    INPUT,
    KH,
    KW,
    NO_BIAS,
    OH,
    OUTPUT,
    OW,
    PAD_X,
    PAD_Y,
    PH,
    POOL_STRIDE_X,
    POOL_STRIDE_Y,
    POOL_X,
    POOL_Y,
    PW,
    RELU,
    STRIDE_X,
    STRIDE_Y,
    SUMS,
    WEIGHTS,
    WIDE,
    H,
    W,
)


class Scratch(NamedTuple):
    """A block's units as a candidate would have them, and how far they are from the kept ones."""

    narrow: np.ndarray                  # (units, BLOCK) int32, as are the differences
    wide: np.ndarray                    # float64
    delta_narrow: np.ndarray
    delta_wide: np.ndarray
    changed: np.ndarray                 # (2, units) int64: outputs of a stage that differ; of the next one
    differs: np.ndarray                 # (2, units) bool: which of the written channels' outputs they are
    channels: np.ndarray                # (stages, most channels) int64: those written, their number in the next
    written: np.ndarray                 # (stages,) int64
    tap_units: np.ndarray               # (most inputs,) int64: of one sum, the inputs that changed, and their weights
    tap_narrow: np.ndarray
    tap_wide: np.ndarray
    leaders: np.ndarray                 # of the logits, as in Search
    terms: np.ndarray
    reference: np.ndarray
    spare: np.ndarray                   # (2, BLOCK) float32
    steps: np.ndarray                   # (levels,) float64: how far each level is from the one that a parameter has
    narrow_steps: np.ndarray            # int32


class Change(NamedTuple):
    """One parameter: its stage, its output channel o and its tap (c, u, v); c is -1 for a bias."""

    stage: int
    o: int
    c: int
    u: int
    v: int


def new_scratch(search, tasks):
    """Scratch for so many tasks at a time, along the first axis of every array."""
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
    """The scratch of one task; its arrays must not outlive the whole."""
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
            n = _begin_with(kept_narrow, kept_wide, wide, scratch.delta_wide, stage, change, step, scratch)
        else:
            n = _begin_with(kept_wide, kept_wide, wide, scratch.delta_wide, stage, change, step, scratch)
    else:
        n = _begin_with(kept_narrow, kept_narrow, narrow, scratch.delta_narrow, stage, change, np.int32(step), scratch)
    for k in range(change.stage + 1, len(search.stages)):
        if n == 0:
            return k
        if not search.stages[k, WIDE]:
            n = _spread(search.stages, k, n, scratch.delta_narrow, search.narrow, scratch.tap_narrow, kept_narrow,
                        narrow, scratch.delta_narrow, scratch)
        elif search.stages[k - 1, WIDE]:
            n = _spread(search.stages, k, n, scratch.delta_wide, search.wide, scratch.tap_wide, kept_wide, wide,
                        scratch.delta_wide, scratch)
        else:
            n = _spread(search.stages, k, n, scratch.delta_narrow, search.wide, scratch.tap_wide, kept_wide, wide,
                        scratch.delta_wide, scratch)
    return len(search.stages) + (n > 0)


@njit
def keep(search, b, change, reached, scratch):
    """Take over what `carry` left in the scratch; `reached` is what it returned."""
    for k in range(change.stage, min(reached, len(search.stages))):
        stage = search.stages[k]
        for o in scratch.channels[k, :scratch.written[k]]:
            if stage[WIDE]:
                _copy_channel(scratch.wide, search.kept_wide[b], stage, o)
            else:
                _copy_channel(scratch.narrow, search.kept_narrow[b], stage, o)


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
def fill(search, b, every_unit):
    """Compute all units of block b from its input; every_unit is 0, 1, ... up to the largest input at least."""
    narrow, wide = search.kept_narrow[b], search.kept_wide[b]
    for k in range(len(search.stages)):
        stage = search.stages[k]
        inputs = every_unit[:stage[C_IN] * stage[H] * stage[W]]
        if not stage[WIDE]:
            _begin(search.narrow, narrow, stage)
            _add_all(narrow, inputs, search.narrow, narrow, stage)
            _finish(narrow, stage)
            continue
        _begin(search.wide, wide, stage)
        if k == 0 or search.stages[k - 1, WIDE]:
            _add_all(wide, inputs, search.wide, wide, stage)
        else:
            _add_all(narrow, inputs, search.wide, wide, stage)
        _finish(wide, stage)


@njit
def _begin_with(source, kept, new, delta, stage, change, step, scratch):
    """The changed channel of the stage that the parameter belongs to; returns how many of its outputs differ."""
    which = change.stage & 1
    scratch.channels[change.stage, 0], scratch.written[change.stage] = change.o, 1
    if not _change(source, kept, new, stage, change, step):
        scratch.written[change.stage] = 0
        return 0
    return _activate(kept, new, delta, scratch.changed[which], scratch.differs[which], 0, stage, change.o)


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
                rows.add_constant(new[z], kept[z], step)
                continue
            x = stage[INPUT] + (change.c * stage[H] + iy) * stage[W] + ix
            if 0 <= iy < stage[H] and 0 <= ix < stage[W] and not rows.is_zero(source[x]):
                rows.add_product(new[z], kept[z], step, source[x])
                differs = True
            else:
                rows.copy(new[z], kept[z])
    return differs


@njit
def _spread(stages, k, n, delta, weights, tap_weights, kept, new, new_delta, scratch):
    """Carry n changed outputs of stage k - 1 through stage k; returns how many of its outputs differ.

    delta: the differences of its inputs; weights, tap_weights, kept, new and new_delta are of its own type.
    """
    stage, before, after = stages[k], (k - 1) & 1, k & 1
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
        found = _activate(kept, new, new_delta, scratch.changed[after], scratch.differs[after], found, stage, o)
    return found


@njit
def _connected(sources, weights, first, tap_units, tap_weights):
    """The changed inputs of a full connection's output, whose weights start at `first`; returns their number."""
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


@njit
def _activate(kept, new, delta, changed, differs, n, stage, o):
    """Pool and rectify channel o of the new sums; appends outputs that differ from the kept ones to `changed`.

    changed holds n of them already; returns how many it holds then. differs: whether, for every output of the channel.
    """
    for py in range(stage[PH]):
        for px in range(stage[PW]):
            unit = (o * stage[PH] + py) * stage[PW] + px
            a = stage[OUTPUT] + unit
            _largest(new, stage, o, py, px, a)
            differs[unit] = rows.difference(delta[a], new[a], kept[a])
            if differs[unit]:
                changed[n] = unit
                n += 1
    return n


@njit
def _add_all(source, inputs, weights, units, stage):
    """To the sums of all channels, weight times input for every input."""
    taps = stage[KH] * stage[KW]
    for unit in inputs:
        c, iy, ix = unit // (stage[H] * stage[W]), unit // stage[W] % stage[H], unit % stage[W]
        low_y, high_y = _reach(iy + stage[PAD_Y], stage[KH], stage[STRIDE_Y], stage[OH])
        low_x, high_x = _reach(ix + stage[PAD_X], stage[KW], stage[STRIDE_X], stage[OW])
        x = stage[INPUT] + unit
        for o in range(stage[C_OUT]):
            first = stage[WEIGHTS] + (o * stage[C_IN] + c) * taps
            for oy in range(low_y, high_y):
                u = iy + stage[PAD_Y] - oy * stage[STRIDE_Y]
                for ox in range(low_x, high_x):
                    v = ix + stage[PAD_X] - ox * stage[STRIDE_X]
                    w = weights[first + u * stage[KW] + v]
                    if w != 0:
                        z = stage[SUMS] + (o * stage[OH] + oy) * stage[OW] + ox
                        rows.add_product(units[z], units[z], w, source[x])


@njit
def _reach(position, kernel, stride, size):
    """The outputs [low, high) along one axis whose window covers the padded input position."""
    low = max(0, (position - kernel + stride) // stride)
    return low, min(size - 1, position // stride) + 1


@njit
def _largest(units, stage, o, py, px, a):
    """units[a]: the largest sum in the window, not below 0 with ReLU."""
    z = stage[SUMS] + (o * stage[OH] + py * stage[POOL_STRIDE_Y]) * stage[OW] + px * stage[POOL_STRIDE_X]
    rows.copy(units[a], units[z])
    for j in range(stage[POOL_Y]):
        for i in range(stage[POOL_X]):
            if i + j:
                rows.raise_to(units[a], units[z + j * stage[OW] + i])
    if stage[RELU]:
        rows.rectify(units[a])


@njit
def _begin(parameters, units, stage):
    """Every sum is its channel's bias."""
    pixels = stage[OH] * stage[OW]
    for o in range(stage[C_OUT]):
        bias = parameters[stage[BIAS] + o] if stage[BIAS] != NO_BIAS else 0
        for z in range(stage[SUMS] + o * pixels, stage[SUMS] + (o + 1) * pixels):
            units[z] = bias


@njit
def _finish(units, stage):
    """All outputs of a stage from its sums."""
    for o in range(stage[C_OUT]):
        for py in range(stage[PH]):
            for px in range(stage[PW]):
                _largest(units, stage, o, py, px, stage[OUTPUT] + (o * stage[PH] + py) * stage[PW] + px)


@njit
def _copy_channel(new, kept, stage, o):
    """Sums and outputs of channel o."""
    for start, pixels in ((stage[SUMS], stage[OH] * stage[OW]), (stage[OUTPUT], stage[PH] * stage[PW])):
        for unit in range(start + o * pixels, start + (o + 1) * pixels):
            rows.copy(kept[unit], new[unit])
