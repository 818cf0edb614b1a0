"""One block of samples: a changed weight, and what changes with it from stage to stage (kernels/search.py).

Every function is compiled for the types a stage has: int32 or float64 units, with input of either.
"""
from typing import NamedTuple

import numpy as np

from tinyq.kernels import search_rows as rows
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


class Change(NamedTuple):
    """One parameter: its stage, its output channel o and its tap (c, u, v); c is -1 for a bias."""

    stage: int
    o: int
    c: int
    u: int
    v: int


@njit
def new_scratch(narrow_units, wide_units):
    """Scratch for one thread."""
    units = max(narrow_units, wide_units)
    return Scratch(np.empty((narrow_units, BLOCK), np.int32), np.empty((wide_units, BLOCK), np.float64),
                   np.empty((narrow_units, BLOCK), np.int32), np.empty((wide_units, BLOCK), np.float64),
                   np.empty((2, units), np.int64))


@njit
def carry(search, b, change, step, scratch):
    """Change one parameter by `step` in block b and carry it towards the logits.

    Returns how many stages were written to the scratch, counted from the first of the network: all of them, and one
    more if some logit changed, and then all logits are there; fewer where the change died out. Of the stage that the
    parameter belongs to only its channel is written.
    """
    kept_narrow, kept_wide = search.kept_narrow[b], search.kept_wide[b]
    narrow, wide, delta_narrow, delta_wide, changed = scratch
    stage = search.stages[change.stage]
    if stage[WIDE]:
        if change.stage > 0 and not search.stages[change.stage - 1, WIDE]:
            _change(kept_narrow, kept_wide, wide, stage, change, step)
        else:
            _change(kept_wide, kept_wide, wide, stage, change, step)
        n = _activate(kept_wide, wide, delta_wide, changed[change.stage & 1], 0, stage, change.o)
    else:
        _change(kept_narrow, kept_narrow, narrow, stage, change, np.int32(step))
        n = _activate(kept_narrow, narrow, delta_narrow, changed[change.stage & 1], 0, stage, change.o)
    if change.stage == len(search.stages) - 1 and n > 0:
        _copy_other_outputs(search, b, change.o, narrow, wide)
    for k in range(change.stage + 1, len(search.stages)):
        if n == 0:
            return k
        stage, source, found = search.stages[k], changed[(k - 1) & 1, :n], changed[k & 1]
        n = 0
        if not stage[WIDE]:
            _spread(delta_narrow, source, search.narrow, kept_narrow, narrow, stage)
            for o in range(stage[C_OUT]):
                n = _activate(kept_narrow, narrow, delta_narrow, found, n, stage, o)
            continue
        if search.stages[k - 1, WIDE]:
            _spread(delta_wide, source, search.wide, kept_wide, wide, stage)
        else:
            _spread(delta_narrow, source, search.wide, kept_wide, wide, stage)
        for o in range(stage[C_OUT]):
            n = _activate(kept_wide, wide, delta_wide, found, n, stage, o)
    return len(search.stages) + (n > 0)


@njit
def keep(search, b, change, reached, scratch):
    """Take over what `carry` left in the scratch; `reached` is what it returned."""
    for k in range(change.stage, min(reached, len(search.stages))):
        stage = search.stages[k]
        first, channels = (change.o, 1) if k == change.stage else (0, stage[C_OUT])
        if stage[WIDE]:
            _copy_channels(scratch.wide, search.kept_wide[b], stage, first, channels)
        else:
            _copy_channels(scratch.narrow, search.kept_narrow[b], stage, first, channels)


@njit
def fill(search, b, every_unit):
    """Compute all units of block b from its input; every_unit is 0, 1, ... up to the largest input at least."""
    narrow, wide = search.kept_narrow[b], search.kept_wide[b]
    for k in range(len(search.stages)):
        stage = search.stages[k]
        inputs = every_unit[:stage[C_IN] * stage[H] * stage[W]]
        if not stage[WIDE]:
            _begin(search.narrow, narrow, stage)
            _spread(narrow, inputs, search.narrow, narrow, narrow, stage)
            _finish(narrow, stage)
            continue
        _begin(search.wide, wide, stage)
        if k == 0 or search.stages[k - 1, WIDE]:
            _spread(wide, inputs, search.wide, wide, wide, stage)
        else:
            _spread(narrow, inputs, search.wide, wide, wide, stage)
        _finish(wide, stage)


@njit
def _change(source, kept, new, stage, change, step):
    """The sums of the changed channel: those kept, plus step times the input under the tap (or step, for a bias)."""
    for oy in range(stage[OH]):
        iy = oy * stage[STRIDE_Y] - stage[PAD_Y] + change.u
        for ox in range(stage[OW]):
            ix = ox * stage[STRIDE_X] - stage[PAD_X] + change.v
            z = stage[SUMS] + (change.o * stage[OH] + oy) * stage[OW] + ox
            if change.c < 0:
                rows.add_constant(new[z], kept[z], step)
            elif 0 <= iy < stage[H] and 0 <= ix < stage[W]:
                x = stage[INPUT] + (change.c * stage[H] + iy) * stage[W] + ix
                rows.add_product(new[z], kept[z], step, source[x])
            else:
                rows.copy(new[z], kept[z])


@njit
def _spread(delta, changed, weights, kept, new, stage):
    """The sums of all channels: those kept, plus weight times difference for every changed input."""
    for z in range(stage[SUMS], stage[SUMS] + stage[C_OUT] * stage[OH] * stage[OW]):
        rows.copy(new[z], kept[z])
    taps = stage[KH] * stage[KW]
    for unit in changed:
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
                        rows.add_product(new[z], new[z], w, delta[x])


@njit
def _reach(position, kernel, stride, size):
    """The outputs [low, high) along one axis whose window covers the padded input position."""
    low = max(0, (position - kernel + stride) // stride)
    return low, min(size - 1, position // stride) + 1


@njit
def _activate(kept, new, delta, changed, n, stage, o):
    """Pool and rectify channel o of the new sums; appends outputs that differ from the kept ones to `changed`.

    changed holds n of them already; returns how many it holds then.
    """
    for py in range(stage[PH]):
        for px in range(stage[PW]):
            unit = (o * stage[PH] + py) * stage[PW] + px
            a = stage[OUTPUT] + unit
            _largest(new, stage, o, py, px, a)
            if rows.difference(delta[a], new[a], kept[a]):
                changed[n] = unit
                n += 1
    return n


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
def _copy_other_outputs(search, b, o, narrow, wide):
    """The logits of the classes other than o, where the change is in the last stage."""
    stage = search.stages[-1]
    for k in range(stage[C_OUT]):
        if k != o:
            unit = stage[OUTPUT] + k
            if stage[WIDE]:
                rows.copy(wide[unit], search.kept_wide[b, unit])
            else:
                rows.copy(narrow[unit], search.kept_narrow[b, unit])


@njit
def _copy_channels(new, kept, stage, first, channels):
    """Sums and outputs of `channels` channels from the first."""
    for start, pixels in ((stage[SUMS], stage[OH] * stage[OW]), (stage[OUTPUT], stage[PH] * stage[PW])):
        for unit in range(start + first * pixels, start + (first + channels) * pixels):
            rows.copy(kept[unit], new[unit])
