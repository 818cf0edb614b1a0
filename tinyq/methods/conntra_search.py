"""From a chain of stages and its samples to what the search kernels work on, in integers wherever that is exact."""
import numpy as np

from tinyq.kernels.search_layout import (
    BIAS,
    BLOCK,
    C_OUT,
    COLUMNS,
    INPUT,
    NO_BIAS,
    OUTPUT,
    POOL_Y,
    RELU,
    STANDINGS,
    SUMS,
    WEIGHTS,
    WIDE,
    Search,
)
from tinyq.methods.conntra_units import Units

NARROW_BOUND = 2**31


def search_of(stages, units: Units, inputs, labels):
    """The Search over these samples, everything 0 but the input; `place` gives it its codes.

    inputs: (samples, features) whole numbers or not, as units.of(x) gives them; labels: (samples,) int64.
    """
    table, narrow, wide = layout(stages, units)
    blocks, count = -(-len(labels) // BLOCK), table[-1, BIAS] + table[-1, C_OUT]
    if table[-1, BIAS] == NO_BIAS:
        count = table[-1, WEIGHTS] + stages[-1].weight.size
    kept = np.zeros((blocks, narrow, BLOCK), np.int32), np.zeros((blocks, wide, BLOCK), np.float64)
    padded = np.zeros((blocks * BLOCK, inputs.shape[1]), kept[table[0, WIDE]].dtype)
    padded[:len(inputs)] = inputs
    kept[table[0, WIDE]][:, :inputs.shape[1]] = padded.reshape(blocks, BLOCK, -1).transpose(0, 2, 1)
    labelled = np.full(blocks * BLOCK, -1, np.int32)
    labelled[:len(labels)] = labels
    return Search(table, units.bias_units, units.levels, np.zeros(count, np.uint8), np.zeros(count, np.int32),
                  np.zeros(count, np.float64), *kept, labelled.reshape(blocks, BLOCK), np.zeros(blocks, np.int64),
                  np.zeros(1), np.zeros((blocks, 2, BLOCK), np.int32),
                  np.zeros((blocks, table[-1, C_OUT], BLOCK), np.float32), np.zeros((blocks, BLOCK)))


def place(search, codes):
    """Give the network these codes (parameters,); what is kept must be recomputed then."""
    search.codes[:] = codes
    search.wide[:] = search.levels[codes]
    for stage, unit in zip(search.stages, search.bias_units, strict=True):
        if stage[BIAS] != NO_BIAS:
            search.wide[stage[BIAS]:stage[BIAS] + stage[C_OUT]] *= unit
    if not search.stages[-1, WIDE] or not search.stages[0, WIDE]:
        search.narrow[:] = search.wide


def logits_of(search):
    """What the network puts out for each sample: (samples, classes)."""
    stage = search.stages[-1]
    kept = search.kept_wide if stage[WIDE] else search.kept_narrow
    logits = kept[:, stage[OUTPUT]:stage[OUTPUT] + stage[C_OUT]].transpose(0, 2, 1).reshape(-1, stage[C_OUT])
    return logits[search.labels.reshape(-1) >= 0]


def layout(stages, units):
    """(stage table, int32 units, float64 units): a stage is wide if its sums could leave int32."""
    table, held, parameters = np.zeros((len(stages), COLUMNS), np.int64), [0, 0], 0
    wide = not units.exact
    source = take(held, wide, int(np.prod(stages[0].source)))
    for row, stage, bound in zip(table, stages, units.bounds, strict=True):
        wide = wide or bound >= NARROW_BOUND
        c_out, c_in, kh, kw = stage.kernel
        row[:POOL_Y - 1] = (c_in, *stage.source[1:], c_out, kh, kw, *stage.stride, *stage.padding, *stage.sums)
        row[RELU:WEIGHTS] = stage.relu, *stage.pool, *stage.pool_stride, *stage.pooled
        row[WEIGHTS], row[BIAS] = parameters, NO_BIAS if stage.bias is None else parameters + stage.weight.size
        parameters += sum(p.size for _, p in stage.parameters)
        row[INPUT] = source
        row[SUMS] = take(held, wide, c_out * stage.sums[0] * stage.sums[1])
        row[OUTPUT] = source = take(held, wide, int(np.prod(stage.output)))
        row[WIDE] = wide
    take(held, wide, STANDINGS)
    return table, *held


def take(held, wide, count):
    """The offset of `count` more units of one kind; held counts both kinds."""
    start = held[wide]
    held[wide] += count
    return start
