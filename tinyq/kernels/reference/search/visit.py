"""Reference implementation of the coordinate search: every candidate evaluated in full."""
import functools

import numpy as np

from tinyq.kernels.reference.elementwise.functions import exp, log
from tinyq.kernels.search.tables import (
    BETA,
    BIAS,
    BLOCK,
    C_IN,
    C_OUT,
    CHANNEL,
    GAMMA,
    INPUT,
    KH,
    KW,
    LN2,
    LOG2_E,
    LOSS_UNIT,
    MAX,
    MAX_EXPONENT,
    NONE,
    NORMED,
    NOT_TRIED,
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
    SUM_OF_POSITIVE,
    SUMS,
    WEIGHTS,
    WIDE,
    H,
    Search,
    W,
)


def visit(picks: np.ndarray, search: Search) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Visit parameters in turn: try every level in ascending order, keep the last of those with the least error."""
    every_unit = np.arange(max(search.kept_narrow.shape[1], search.kept_wide.shape[1]))
    codes, errors, moved = (np.zeros(len(picks), dtype) for dtype in (np.uint8, np.int64, np.bool_))
    tried = np.full((len(picks), len(search.levels)), NOT_TRIED, np.int64)
    best = recompute(every_unit, search)
    for k, p in enumerate(picks.tolist()):
        kept = before = search.codes[p]
        for j in range(search.sizes[column(search, p)]):
            set_code(search, p, j)
            error = tried[k, j] = recompute(every_unit, search)
            if error <= best:
                best, kept = error, j
        set_code(search, p, kept)
        codes[k], errors[k], moved[k] = kept, best, kept != before
    recompute(every_unit, search)
    return codes, errors, moved, tried


def recompute(every_unit: np.ndarray, search: Search) -> int:
    """Compute everything kept from input and parameters, in place; returns the error."""
    for k, stage in enumerate(search.stages.tolist()):
        kept = search.kept_wide if stage[WIDE] else search.kept_narrow
        source_is_wide = stage[WIDE] if k == 0 else search.stages[k - 1, WIDE]
        source = search.kept_wide if source_is_wide else search.kept_narrow
        x = source[:, stage[INPUT]:stage[INPUT] + stage[C_IN] * stage[H] * stage[W]]
        sums = _products(x.astype(kept.dtype), search.wide if stage[WIDE] else search.narrow, stage)
        normed = _normalised(sums, stage, search)
        outputs = _pooled(normed, stage)
        kept[:, stage[NORMED]:stage[NORMED] + sums[0, ..., 0].size] = normed.reshape(len(sums), -1, BLOCK)
        kept[:, stage[SUMS]:stage[SUMS] + sums[0, ..., 0].size] = sums.reshape(len(sums), -1, BLOCK)
        kept[:, stage[OUTPUT]:stage[OUTPUT] + outputs[0, ..., 0].size] = outputs.reshape(len(sums), -1, BLOCK)
    search.block_errors[:] = _errors(outputs[:, :, 0, 0], search.labels, float(search.logit_scale[0]))
    return int(search.block_errors.sum())


def _stage(search, p):
    return int(np.searchsorted(search.stages[:, WEIGHTS], p, side="right")) - 1


def column(search: Search, p: int) -> int:
    """Return the column of levels of parameter p: of its stage's product, or of its batch norm."""
    k = _stage(search, p)
    return 2 * k + int(search.stages[k, GAMMA] != NONE and p >= search.stages[k, GAMMA])


def set_code(search: Search, p: int, code: int) -> None:
    """Give parameter p a code; the caller must then recompute the stored results."""
    k = _stage(search, p)
    first = search.stages[k, BIAS]
    is_bias = first != NONE and first <= p < first + search.stages[k, C_OUT]
    search.codes[p] = code
    level = search.levels[code, column(search, p)]
    search.wide[p] = search.narrow[p] = level * (search.bias_units[k] if is_bias else 1)


def _products(x, parameters, stage):
    """Return (blocks, c_out, oh, ow, BLOCK): taps in ascending order of channel, then of the input's row and column."""
    c_in, c_out, kh, kw = (stage[i] for i in (C_IN, C_OUT, KH, KW))
    x = x.reshape(len(x), c_in, stage[H], stage[W], BLOCK)
    x = np.pad(x, ((0, 0), (0, 0), (stage[PAD_Y],) * 2, (stage[PAD_X],) * 2, (0, 0)))
    weights = parameters[stage[WEIGHTS]:stage[WEIGHTS] + c_out * c_in * kh * kw].reshape(c_out, c_in, kh, kw)
    sums = np.zeros((len(x), c_out, stage[OH], stage[OW], BLOCK), x.dtype)
    if stage[BIAS] != NONE:
        sums += parameters[stage[BIAS]:stage[BIAS] + c_out].reshape(-1, 1, 1, 1)
    for o, c, u, v in np.ndindex(c_out, c_in, kh, kw):
        rows = slice(u, u + (stage[OH] - 1) * stage[STRIDE_Y] + 1, stage[STRIDE_Y])
        columns = slice(v, v + (stage[OW] - 1) * stage[STRIDE_X] + 1, stage[STRIDE_X])
        if weights[o, c, u, v]:
            sums[:, o] += weights[o, c, u, v] * x[:, c, rows, columns]
    return sums


def _normalised(sums, stage, search):
    """Return (sums * factor - offset) * gamma + beta of every channel, where the stage has batch norm."""
    if stage[NORMED] == stage[SUMS]:
        return sums
    channels = slice(stage[CHANNEL], stage[CHANNEL] + stage[C_OUT])
    factor, offset = (column.reshape(-1, 1, 1, 1) for column in search.norms[channels].T)
    normed = sums * factor - offset
    if stage[GAMMA] == NONE:
        return normed
    gamma, beta = (search.wide[stage[i]:stage[i] + stage[C_OUT]].reshape(-1, 1, 1, 1) for i in (GAMMA, BETA))
    return normed * gamma + beta


def _pooled(sums, stage):
    """Return (blocks, c_out, ph, pw, BLOCK): the largest or the sum of each window, not below 0 with ReLU."""
    combine = np.maximum if stage[POOLING] == MAX else np.add
    values = np.maximum(sums, 0) if stage[POOLING] == SUM_OF_POSITIVE else sums
    windows = []
    for j, i in np.ndindex(stage[POOL_Y], stage[POOL_X]):
        rows = slice(j, j + (stage[PH] - 1) * stage[POOL_STRIDE_Y] + 1, stage[POOL_STRIDE_Y])
        columns = slice(i, i + (stage[PW] - 1) * stage[POOL_STRIDE_X] + 1, stage[POOL_STRIDE_X])
        windows.append(values[:, :, rows, columns])
    pooled = functools.reduce(combine, windows)
    return np.where(pooled > 0, pooled, 0) if stage[RELU] else pooled


def _errors(logits, labels, logit_scale):
    """Return (blocks,) int64 from logits (blocks, classes, BLOCK)."""
    sample = labels >= 0
    if logit_scale == 0:
        return (sample & (logits.argmax(axis=1) != labels)).sum(axis=1)
    own = np.take_along_axis(logits, np.maximum(labels, 0)[:, None], axis=1)[:, 0]
    y = logits * logit_scale
    n = np.floor(y * LOG2_E + 0.5)
    top = n.max(axis=1)
    powers = np.maximum(n - top[:, None], -MAX_EXPONENT).astype(np.int32)
    terms = np.ldexp(exp((y - n * LN2).astype(np.float32)), powers)
    total = np.zeros(top.shape, np.float32)
    for k in range(logits.shape[1]):
        total += terms[:, k]
    fraction, power = np.frexp(total)                           # total = fraction 2**power, fraction in [1/2, 1)
    loss = log(2 * fraction).astype(np.float64) + (power - 1 + top) * LN2 - own * logit_scale
    return np.where(sample, np.floor(loss / LOSS_UNIT + 0.5), 0).astype(np.int64).sum(axis=1)
