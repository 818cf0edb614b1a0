"""Coordinate search over levels without re-running the network (CoNNTrA, Algorithm 2; methods/README.md, section 3).

The network is a chain of stages: a product (convolution; a full connection is one whose kernel covers its input), then
batch norm with fixed statistics, then maxima or sums over windows, then ReLU. What every stage computed is kept, for
blocks of BLOCK samples side by side, so that one instruction serves many samples. A candidate changes one weight: its
output channel is corrected by (new - old) * input, and from there on only units of which some sample in the block
changed are carried forward.

Stages whose sums fit are int32, the others float64, which is exact as long as sums are integers below 2**53. The
error of a sample is an integer, so that a sum over samples depends neither on their order nor on threads, and the
kept errors of blocks that a candidate does not change need not be computed again.
"""
import numpy as np
from numba import get_num_threads

from tinyq.kernels.jit.compile import njit, prange
from tinyq.kernels.jit.intrinsics import borrowed
from tinyq.kernels.search.carry import BETA_OF, BIAS_OF, GAMMA_OF, Change, carry, complete, keep, new_scratch, of_task
from tinyq.kernels.search.logits import moves_one_logit, try_logit
from tinyq.kernels.search.sample_error import error_of_all
from tinyq.kernels.search.stages import fill
from tinyq.kernels.search.tables import (
    BETA,
    BIAS,
    BLOCK,
    C_IN,
    C_OUT,
    GAMMA,
    KH,
    KW,
    NONE,
    NOT_TRIED,
    OUTPUT,
    WEIGHTS,
    WIDE,
    Search,
)

MIN_PARALLEL_BLOCKS = 16                # blocks below which waking threads costs more than it saves


def visit(picks: np.ndarray, search: Search) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Visit parameters in turn: try every level in ascending order, keep the last of those with the least error.

    picks: (visits,) int64; search: what `recompute` has made consistent, changed in place. Returns, for each
    visit, (code uint8 the parameter was left with, error int64 then, whether it moved), and the error of every level
    that was tried: (visits, levels) int64, NOT_TRIED behind the last of the parameter.
    """
    codes, errors, moved = (np.zeros(len(picks), dtype) for dtype in (np.uint8, np.int64, np.bool_))
    tried = np.full((len(picks), len(search.levels)), NOT_TRIED, np.int64)
    _visit(picks, search, new_scratch(search, _tasks(search)), codes, errors, moved, tried)
    return codes, errors, moved, tried


def recompute(every_unit: np.ndarray, search: Search) -> int:
    """Compute everything kept from input and parameters, in place; returns the error.

    every_unit: 0, 1, ..., int64, up to the largest stage's number of inputs at least.
    """
    _fill_parallel(every_unit, search, _tasks(search))
    return int(search.block_errors.sum())


def _tasks(search):
    """Number of stretches of blocks: one per thread, or one in all."""
    return get_num_threads() if len(search.block_errors) >= MIN_PARALLEL_BLOCKS else 1


@njit
def _visit(picks, search, scratch, codes, errors, moved, tried):
    blocks, tasks = len(search.block_errors), len(scratch.written)
    best, partial = search.block_errors.sum(), np.zeros((tasks, len(search.levels)), np.int64)
    for k in range(len(picks)):
        p = picks[k]
        change, current = _change_of(p, search.stages), search.codes[p]
        count = search.sizes[_column(change)]
        if tasks == 1:
            _try_levels(borrowed(search), change, current, partial[0, :count], 0, blocks, of_task(scratch, 0))
        else:
            _try_levels_parallel(search, change, current, partial[:, :count], scratch)
        found = current
        for j in range(count):                                          # ties are accepted, in the order of the levels
            error = tried[k, j] = partial[:, j].sum()
            if error <= best:
                best, found = error, j
        if found != current:
            step = _value(search, change, found) - _value(search, change, current)
            if tasks == 1:
                _keep(borrowed(search), change, step, 0, blocks, of_task(scratch, 0))
            else:
                _keep_parallel(search, change, step, scratch)
            search.codes[p] = found
            search.wide[p] = search.narrow[p] = _value(search, change, found)
        codes[k], errors[k], moved[k] = found, best, found != current


@njit
def _change_of(p, stages):
    """Stage, channel and tap of parameter p."""
    k = 0
    while k + 1 < len(stages) and p >= stages[k + 1, WEIGHTS]:
        k += 1
    stage = stages[k]
    for kind, column in ((BETA_OF, BETA), (GAMMA_OF, GAMMA), (BIAS_OF, BIAS)):
        if stage[column] != NONE and p >= stage[column]:
            return Change(k, p - stage[column], kind, 0, 0)
    at, taps = p - stage[WEIGHTS], stage[KH] * stage[KW]
    o, rest = at // (stage[C_IN] * taps), at % (stage[C_IN] * taps)
    return Change(k, o, rest // taps, rest % taps // stage[KW], rest % stage[KW])


@njit
def _column(change):
    """Return the column of the parameter's levels."""
    return 2 * change.stage + (change.c == GAMMA_OF or change.c == BETA_OF)


@njit
def _value(search, change, code):
    """Return the number that the network multiplies by, or adds, for a code of this parameter."""
    return search.levels[code, _column(change)] * (search.bias_units[change.stage] if change.c == BIAS_OF else 1.0)


@njit
def _try_levels(search, change, current, errors, first, last, scratch):
    """Write the error of blocks first ... last - 1 with each level of the parameter: errors (levels,) int64."""
    for j in range(len(errors)):
        errors[j], scratch.steps[j] = 0, _value(search, change, j) - _value(search, change, current)
    if moves_one_logit(search.stages, change.stage):
        _try_logit(search, change, errors, first, last, scratch)
        return
    for b in range(first, last):
        for j in range(len(errors)):
            changed = j != current and carry(search, b, change, scratch.steps[j], scratch) > len(search.stages)
            errors[j] += _error_in(search, b, scratch) if changed else search.block_errors[b]


@njit
def _try_logit(search, change, errors, first, last, scratch):
    """_try_levels for a parameter of the last stage, in its type and that of its input."""
    stage, k = search.stages[change.stage], change.stage
    held = search.leaders, search.terms, search.references
    spare = scratch.leaders, scratch.terms, scratch.reference, scratch.spare
    of_blocks = search.block_errors, search.labels, search.logit_scale[0], held
    narrow, wide = search.kept_narrow, search.kept_wide
    if not stage[WIDE]:
        for j in range(len(errors)):
            scratch.narrow_steps[j] = scratch.steps[j]
        try_logit(stage, change, scratch.narrow_steps, errors, narrow, narrow, *of_blocks, (scratch.narrow, *spare),
                  first, last)
    elif k > 0 and not search.stages[k - 1, WIDE]:
        try_logit(stage, change, scratch.steps, errors, narrow, wide, *of_blocks, (scratch.wide, *spare), first, last)
    else:
        try_logit(stage, change, scratch.steps, errors, wide, wide, *of_blocks, (scratch.wide, *spare), first, last)


@njit
def _error_in(search, b, scratch):
    """Return the error of block b with the logits in the scratch."""
    k = len(search.stages) - 1
    if search.stages[k, WIDE]:
        complete(search.kept_wide[b], scratch.wide, search.stages[k], scratch.channels[k, :scratch.written[k]])
        return _error_of(search, b, scratch.wide, scratch.leaders, scratch.terms, scratch.reference, scratch.spare)
    complete(search.kept_narrow[b], scratch.narrow, search.stages[k], scratch.channels[k, :scratch.written[k]])
    return _error_of(search, b, scratch.narrow, scratch.leaders, scratch.terms, scratch.reference, scratch.spare)


@njit
def _error_of(search, b, units, leaders, terms, reference, spare):
    stage = search.stages[-1]
    return error_of_all(units, stage[OUTPUT], stage[C_OUT], search.labels[b], search.logit_scale[0], leaders, terms,
                        reference, spare)


@njit
def _keep(search, change, step, first, last, scratch):
    """Make the change in blocks first ... last - 1."""
    for b in range(first, last):
        reached = carry(search, b, change, step, scratch)
        keep(search, b, change, reached, scratch)
        if reached > len(search.stages):
            _measure(search, b, scratch.spare)


@njit
def _fill(every_unit, search, first, last):
    spare = np.empty((2, BLOCK), np.float32)
    for b in range(first, last):
        fill(search, b, every_unit)
        _measure(search, b, spare)


@njit
def _measure(search, b, spare):
    """Update the stored error of block b and the stored tables of its logits."""
    held = search.leaders[b], search.terms[b], search.references[b]
    if search.stages[-1, WIDE]:
        search.block_errors[b] = _error_of(search, b, search.kept_wide[b], *held, spare)
    else:
        search.block_errors[b] = _error_of(search, b, search.kept_narrow[b], *held, spare)


@njit(parallel=True)
def _try_levels_parallel(search, change, current, partial, scratch):
    for task in prange(len(partial)):
        first, last = _stretch(np.int64(task), len(partial), len(search.block_errors))
        _try_levels(borrowed(search), change, current, partial[task], first, last, of_task(scratch, task))


@njit(parallel=True)
def _keep_parallel(search, change, step, scratch):
    for task in prange(len(scratch.written)):
        first, last = _stretch(np.int64(task), len(scratch.written), len(search.block_errors))
        _keep(borrowed(search), change, step, first, last, of_task(scratch, task))


@njit(parallel=True)
def _fill_parallel(every_unit, search, tasks):
    for task in prange(tasks):
        first, last = _stretch(np.int64(task), tasks, len(search.block_errors))
        _fill(every_unit, borrowed(search), first, last)


@njit
def _stretch(task, tasks, blocks):
    """Return the blocks of one task, [first, last)."""
    return task * blocks // tasks, (task + 1) * blocks // tasks
