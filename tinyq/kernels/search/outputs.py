"""The network's outputs with each level of one parameter, for errors that are not counted by kernels (visit.py)."""
import numpy as np

from tinyq.kernels.jit.compile import njit
from tinyq.kernels.jit.intrinsics import borrowed
from tinyq.kernels.search.carry import carry, complete, new_scratch, of_task
from tinyq.kernels.search.tables import BLOCK, C_OUT, OUTPUT, WIDE, Search
from tinyq.kernels.search.visit import _change_of, _column, _keep, _value


def outputs_of_levels(pick: np.ndarray, search: Search) -> np.ndarray:
    """Return the outputs (its levels, outputs, blocks, BLOCK) float64 with each level of one parameter, which stays.

    pick: (1,) int64, the parameter; search: what `recompute` has made consistent.
    """
    outputs = np.empty((len(search.levels), search.stages[-1, C_OUT], len(search.block_errors), BLOCK))
    return outputs[:_outputs_of_levels(pick[0], search, outputs, new_scratch(search, 1))]


def settle(pick: np.ndarray, code: int, search: Search) -> None:
    """Give one parameter another level, in place; pick: (1,) int64."""
    _settle(pick[0], code, search, new_scratch(search, 1))


@njit
def _outputs_of_levels(p, search, outputs, scratches):
    change, current, scratch = _change_of(p, search.stages), search.codes[p], of_task(scratches, 0)
    k, last, count = len(search.stages) - 1, search.stages[-1], search.sizes[_column(change)]
    for b in range(len(search.block_errors)):
        for j in range(count):
            step = _value(search, change, j) - _value(search, change, current)
            moved = j != current and carry(borrowed(search), b, change, step, scratch) > len(search.stages)
            if last[WIDE]:
                if moved:
                    complete(search.kept_wide[b], scratch.wide, last, scratch.channels[k, :scratch.written[k]])
                _copy(outputs[j, :, b], scratch.wide if moved else search.kept_wide[b], last[OUTPUT])
            else:
                if moved:
                    complete(search.kept_narrow[b], scratch.narrow, last, scratch.channels[k, :scratch.written[k]])
                _copy(outputs[j, :, b], scratch.narrow if moved else search.kept_narrow[b], last[OUTPUT])
    return count


@njit
def _copy(outputs, units, first):
    for o in range(len(outputs)):
        for s in range(BLOCK):
            outputs[o, s] = units[first + o, s]


@njit
def _settle(p, code, search, scratches):
    change, current = _change_of(p, search.stages), search.codes[p]
    step = _value(search, change, code) - _value(search, change, current)
    _keep(borrowed(search), change, step, 0, len(search.block_errors), of_task(scratches, 0))
    search.codes[p] = code
    search.wide[p] = search.narrow[p] = _value(search, change, code)
