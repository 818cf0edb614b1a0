"""Coordinate search over levels without re-running the network (CoNNTrA, Algorithm 2; METHODS.md, section 3).

The network is a chain of stages: a product (convolution; a full connection is one whose kernel covers its input), then
maxima over windows, then ReLU. What every stage computed is kept, for blocks of BLOCK samples side by side, so that
one instruction serves many samples. A candidate changes one weight: its output channel is corrected by
(new - old) * input, and from there on only units of which some sample in the block changed are carried forward.

Stages whose sums fit are int32, the others float64, which is exact as long as sums are integers below 2**53. The
error of a sample is an integer, so that a sum over samples depends neither on their order nor on threads, and the
kept errors of blocks that a candidate does not change need not be computed again.
"""
import numpy as np

from tinyq.kernels.compile import njit, prange
from tinyq.kernels.search_carry import Change, carry, fill, keep, new_scratch
from tinyq.kernels.search_error import cross_entropy, misclassified
from tinyq.kernels.search_layout import BIAS, C_IN, C_OUT, KH, KW, NO_BIAS, OUTPUT, WEIGHTS, WIDE

TASKS = 32                              # stretches of blocks that threads take
WORTH_THREADS = 16                      # blocks below which waking threads costs more than it saves


def visit(picks, search):
    """Visit parameters in turn: try every level in ascending order, keep the last of those with the least error.

    picks: (visits,) int64; search: what `recompute` has made consistent, changed in place. Returns, for each
    visit, (code uint8 the parameter was left with, error int64 then, whether it moved).
    """
    codes, errors, moved = (np.zeros(len(picks), dtype) for dtype in (np.uint8, np.int64, np.bool_))
    _visit(picks, search, codes, errors, moved)
    return codes, errors, moved


def recompute(every_unit, search):
    """Compute everything kept from input and parameters, in place; returns the error.

    every_unit: 0, 1, ..., int64, up to the largest stage's number of inputs at least.
    """
    _fill_parallel(every_unit, search)
    return int(search.block_errors.sum())


@njit
def _visit(picks, search, codes, errors, moved):
    blocks, levels = len(search.block_errors), len(search.levels)
    best, partial = search.block_errors.sum(), np.zeros((TASKS, levels), np.int64)
    for k in range(len(picks)):
        p = picks[k]
        change, current = _change_of(p, search.stages), search.codes[p]
        if blocks < WORTH_THREADS:
            _try_levels(search, change, current, partial[0], 0, blocks)
        else:
            _try_levels_parallel(search, change, current, partial)
        found = current
        for j in range(levels):                             # ties are accepted, in the order of the levels
            error = partial[:, j].sum()
            if error <= best:
                best, found = error, j
        if found != current:
            step = _value(search, change, found) - _value(search, change, current)
            search.codes[p] = found
            search.wide[p] = search.narrow[p] = _value(search, change, found)
            if blocks < WORTH_THREADS:
                _keep(search, change, step, 0, blocks)
            else:
                _keep_parallel(search, change, step)
        codes[k], errors[k], moved[k] = found, best, found != current


@njit
def _change_of(p, stages):
    """Where parameter p belongs."""
    k = 0
    while k + 1 < len(stages) and p >= stages[k + 1, WEIGHTS]:
        k += 1
    stage = stages[k]
    if stage[BIAS] != NO_BIAS and p >= stage[BIAS]:
        return Change(k, p - stage[BIAS], -1, 0, 0)
    at, taps = p - stage[WEIGHTS], stage[KH] * stage[KW]
    o, rest = at // (stage[C_IN] * taps), at % (stage[C_IN] * taps)
    return Change(k, o, rest // taps, rest % taps // stage[KW], rest % stage[KW])


@njit
def _value(search, change, code):
    """What the network multiplies by, or adds, for a code of this parameter."""
    return search.levels[code] * (search.bias_units[change.stage] if change.c < 0 else 1.0)


@njit
def _try_levels(search, change, current, errors, first, last):
    """The error of blocks first ... last - 1 with each level: errors (levels,) int64."""
    scratch = new_scratch(search.kept_narrow.shape[1], search.kept_wide.shape[1])
    for j in range(len(errors)):
        step, total = _value(search, change, j) - _value(search, change, current), 0
        for b in range(first, last):
            changed = j != current and carry(search, b, change, step, scratch) > len(search.stages)
            total += _error(search, b, scratch.narrow, scratch.wide) if changed else search.block_errors[b]
        errors[j] = total


@njit
def _keep(search, change, step, first, last):
    """Make the change in blocks first ... last - 1."""
    scratch = new_scratch(search.kept_narrow.shape[1], search.kept_wide.shape[1])
    for b in range(first, last):
        reached = carry(search, b, change, step, scratch)
        keep(search, b, change, reached, scratch)
        if reached > len(search.stages):
            search.block_errors[b] = _error(search, b, scratch.narrow, scratch.wide)


@njit
def _fill(every_unit, search, first, last):
    for b in range(first, last):
        fill(search, b, every_unit)
        search.block_errors[b] = _error(search, b, search.kept_narrow[b], search.kept_wide[b])


@njit
def _error(search, b, narrow, wide):
    """The error of block b with these units."""
    stage, labels, temperature = search.stages[-1], search.labels[b], search.temperature[0]
    if temperature == 0:
        if stage[WIDE]:
            return misclassified(wide, stage[OUTPUT], stage[C_OUT], labels)
        return misclassified(narrow, stage[OUTPUT], stage[C_OUT], labels)
    if stage[WIDE]:
        return cross_entropy(wide, stage[OUTPUT], stage[C_OUT], labels, temperature)
    return cross_entropy(narrow, stage[OUTPUT], stage[C_OUT], labels, temperature)


@njit(parallel=True)
def _try_levels_parallel(search, change, current, partial):
    for task in prange(TASKS):
        first, last = _stretch(task, len(search.block_errors))
        _try_levels(search, change, current, partial[task], first, last)


@njit(parallel=True)
def _keep_parallel(search, change, step):
    for task in prange(TASKS):
        first, last = _stretch(task, len(search.block_errors))
        _keep(search, change, step, first, last)


@njit(parallel=True)
def _fill_parallel(every_unit, search):
    for task in prange(TASKS):
        first, last = _stretch(task, len(search.block_errors))
        _fill(every_unit, search, first, last)


@njit
def _stretch(task, blocks):
    """The blocks of one task, [first, last)."""
    return task * blocks // TASKS, (task + 1) * blocks // TASKS
