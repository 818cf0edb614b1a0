"""One block of samples: a stage's outputs from its sums, and all sums recomputed (kernels/search/visit.py)."""
import numpy as np

from tinyq.kernels.jit.compile import njit
from tinyq.kernels.search import unit_rows as rows
from tinyq.kernels.search.tables import (
    BETA,
    BIAS,
    C_IN,
    C_OUT,
    CHANNEL,
    GAMMA,
    INPUT,
    KH,
    KW,
    MAX,
    NONE,
    NORMED,
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
    POOLING,
    PW,
    RELU,
    STRIDE_X,
    STRIDE_Y,
    SUM,
    SUM_OF_POSITIVE,
    SUMS,
    WEIGHTS,
    WIDE,
    H,
    W,
)


@njit
def affine_of(stage, o, parameters, norms):
    """Return (factor, offset, gamma, beta) of channel o: it becomes (sum * factor - offset) * gamma + beta."""
    if stage[NORMED] == stage[SUMS]:
        return 1.0, 0.0, 1.0, 0.0
    factor, offset = norms[stage[CHANNEL] + o]
    if stage[GAMMA] == NONE:
        return factor, offset, 1.0, 0.0
    return factor, offset, np.float64(parameters[stage[GAMMA] + o]), np.float64(parameters[stage[BETA] + o])


@njit
def activate(kept, new, delta, changed, differs, n, stage, o, affine):
    """Normalise, pool and rectify channel o of the new sums; outputs that differ from the kept ones go to `changed`.

    changed holds n of them already; returns how many it holds then. differs: whether, for every output of the channel.
    """
    _normalise(new, stage, o, affine)
    for py in range(stage[PH]):
        for px in range(stage[PW]):
            unit = (o * stage[PH] + py) * stage[PW] + px
            a = stage[OUTPUT] + unit
            _pool(new, stage, o, py, px, a)
            differs[unit] = rows.difference(delta[a], new[a], kept[a])
            if differs[unit]:
                changed[n] = unit
                n += 1
    return n


@njit
def copy_channel(new, kept, stage, o):
    """Copy the sums and outputs of channel o."""
    sums = stage[OH] * stage[OW]
    for start, pixels in ((stage[SUMS], sums), (stage[NORMED], sums), (stage[OUTPUT], stage[PH] * stage[PW])):
        for unit in range(start + o * pixels, start + (o + 1) * pixels):
            rows.copy(kept[unit], new[unit])


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
            _finish(narrow, stage, search.narrow, search.norms)
            continue
        _begin(search.wide, wide, stage)
        if k == 0 or search.stages[k - 1, WIDE]:
            _add_all(wide, inputs, search.wide, wide, stage)
        else:
            _add_all(narrow, inputs, search.wide, wide, stage)
        _finish(wide, stage, search.wide, search.norms)


@njit
def _normalise(units, stage, o, affine):
    """Return the normalised sums of channel o, where the stage has batch norm."""
    if stage[NORMED] == stage[SUMS]:
        return
    pixels = stage[OH] * stage[OW]
    for p in range(o * pixels, (o + 1) * pixels):
        rows.normalise(units[stage[NORMED] + p], units[stage[SUMS] + p], affine)


@njit
def _pool(units, stage, o, py, px, a):
    """units[a] = the window combined as POOLING says, not below 0 with ReLU."""
    first = stage[NORMED] + (o * stage[OH] + py * stage[POOL_STRIDE_Y]) * stage[OW] + px * stage[POOL_STRIDE_X]
    rows.copy(units[a], units[first])
    if stage[POOLING] == SUM_OF_POSITIVE:
        rows.rectify(units[a])
    for j in range(stage[POOL_Y]):
        for i in range(stage[POOL_X]):
            z = first + j * stage[OW] + i
            if z == first:
                continue
            if stage[POOLING] == MAX:
                rows.raise_to(units[a], units[z])
            elif stage[POOLING] == SUM:
                rows.add(units[a], units[z])
            else:
                rows.add_positive(units[a], units[z])
    if stage[RELU]:
        rows.rectify(units[a])


@njit
def _begin(parameters, units, stage):
    """Set every sum to its channel's bias."""
    pixels = stage[OH] * stage[OW]
    for o in range(stage[C_OUT]):
        bias = parameters[stage[BIAS] + o] if stage[BIAS] != NONE else 0
        for z in range(stage[SUMS] + o * pixels, stage[SUMS] + (o + 1) * pixels):
            units[z] = bias


@njit
def _add_all(source, inputs, weights, units, stage):
    """Add weight times input to the sums of all channels, for every input."""
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
    """Return the outputs [low, high) along one axis whose window covers the padded input position."""
    low = max(0, (position - kernel + stride) // stride)
    return low, min(size - 1, position // stride) + 1


@njit
def _finish(units, stage, parameters, norms):
    """Compute all outputs of a stage from its sums."""
    for o in range(stage[C_OUT]):
        _normalise(units, stage, o, affine_of(stage, o, parameters, norms))
        for py in range(stage[PH]):
            for px in range(stage[PW]):
                _pool(units, stage, o, py, px, stage[OUTPUT] + (o * stage[PH] + py) * stage[PW] + px)
