"""Reference implementation of the outputs with each level of one parameter: the whole network for every level."""
import numpy as np

from tinyq.kernels.reference.search.visit import column, recompute, set_code
from tinyq.kernels.search.tables import BLOCK, C_OUT, OUTPUT, WIDE, Search


def outputs_of_levels(pick: np.ndarray, search: Search) -> np.ndarray:
    """Return the outputs (its levels, outputs, blocks, BLOCK) float64 with each level of one parameter, which stays."""
    p, stage = int(pick[0]), search.stages[-1]
    before, every_unit = search.codes[p], np.arange(max(search.kept_narrow.shape[1], search.kept_wide.shape[1]))
    outputs = np.empty((search.sizes[column(search, p)], stage[C_OUT], len(search.block_errors), BLOCK))
    for j in range(len(outputs)):
        set_code(search, p, j)
        recompute(every_unit, search)
        kept = search.kept_wide if stage[WIDE] else search.kept_narrow
        outputs[j] = kept[:, stage[OUTPUT]:stage[OUTPUT] + stage[C_OUT]].transpose(1, 0, 2)
    settle(pick, before, search)
    return outputs


def settle(pick: np.ndarray, code: int, search: Search) -> None:
    """Give one parameter another level, in place; pick: (1,) int64."""
    set_code(search, int(pick[0]), code)
    recompute(np.arange(max(search.kept_narrow.shape[1], search.kept_wide.shape[1])), search)
