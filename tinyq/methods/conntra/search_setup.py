"""Make the arrays of the search kernels from a chain of stages and its samples, in integers if that is exact."""
import numpy as np

from tinyq.kernels.search.tables import (
    BETA,
    BIAS,
    BLOCK,
    C_OUT,
    CHANNEL,
    COLUMNS,
    GAMMA,
    INPUT,
    NONE,
    NORMED,
    OUTPUT,
    POOL_Y,
    RELU,
    STANDINGS,
    SUMS,
    WEIGHTS,
    WIDE,
    Search,
)
from tinyq.methods.conntra.chain import Stage
from tinyq.methods.conntra.units import Units

NARROW_BOUND = 2**31


def search_of(stages: list[Stage], units: Units, inputs: np.ndarray, labels: np.ndarray) -> Search:
    """Make the Search over these samples, with everything 0 except the input; `place` sets the codes.

    inputs: (samples, features) whole numbers or not, as units.of(x) gives them; labels: (samples,) int64.
    """
    table, narrow, wide = layout(stages, units)
    blocks, count = -(-len(labels) // BLOCK), sum(p.size for stage in stages for _, p in stage.parameters)
    kept = np.zeros((blocks, narrow, BLOCK), np.int32), np.zeros((blocks, wide, BLOCK), np.float64)
    padded = np.zeros((blocks * BLOCK, inputs.shape[1]), kept[table[0, WIDE]].dtype)
    padded[:len(inputs)] = inputs
    kept[table[0, WIDE]][:, :inputs.shape[1]] = padded.reshape(blocks, BLOCK, -1).transpose(0, 2, 1)
    labelled = np.full(blocks * BLOCK, -1, np.int32)
    labelled[:len(labels)] = labels
    return Search(
        table, units.bias_units, norms=np.zeros((table[:, C_OUT].sum(), 2)), levels=units.levels, sizes=units.sizes,
        codes=np.zeros(count, np.uint8), narrow=np.zeros(count, np.int32), wide=np.zeros(count),
        kept_narrow=kept[0], kept_wide=kept[1], labels=labelled.reshape(blocks, BLOCK),
        block_errors=np.zeros(blocks, np.int64), logit_scale=np.zeros(1),
        leaders=np.zeros((blocks, 2, BLOCK), np.int32), references=np.zeros((blocks, BLOCK)),
        terms=np.zeros((blocks, table[-1, C_OUT], BLOCK), np.float32))


def place(search: Search, codes: np.ndarray) -> None:
    """Give the network these codes (parameters,); the caller must then recompute the stored results."""
    search.codes[:] = codes
    for k, (stage, unit) in enumerate(zip(search.stages, search.bias_units, strict=True)):
        product, norm = search.levels[:, 2 * k], search.levels[:, 2 * k + 1]
        end = search.stages[k + 1, WEIGHTS] if k + 1 < len(search.stages) else len(codes)
        begins_norm = end if stage[GAMMA] == NONE else stage[GAMMA]
        search.wide[stage[WEIGHTS]:begins_norm] = product[codes[stage[WEIGHTS]:begins_norm]]
        search.wide[begins_norm:end] = norm[codes[begins_norm:end]]
        if stage[BIAS] != NONE:
            search.wide[stage[BIAS]:stage[BIAS] + stage[C_OUT]] *= unit
    if not search.stages[-1, WIDE] or not search.stages[0, WIDE]:
        search.narrow[:] = search.wide


def set_norms(search: Search, stages: list[Stage], units: np.ndarray) -> None:
    """Set batch norm's factors for sums in these units (stages,): (sum * unit - mean) / sqrt(variance + eps)."""
    for row, stage, unit in zip(search.stages, stages, units.tolist(), strict=True):
        if stage.norm:
            channels = search.norms[row[CHANNEL]:row[CHANNEL] + row[C_OUT]]
            variance = np.asarray(stage.norm.running_var, np.float64)
            deviation = np.sqrt(variance + stage.norm.eps)
            channels[:, 0], channels[:, 1] = unit / deviation, stage.norm.running_mean / deviation


def logits_of(search: Search) -> np.ndarray:
    """Return the network's logits (samples, classes)."""
    stage = search.stages[-1]
    kept = search.kept_wide if stage[WIDE] else search.kept_narrow
    logits = kept[:, stage[OUTPUT]:stage[OUTPUT] + stage[C_OUT]].transpose(0, 2, 1).reshape(-1, stage[C_OUT])
    return logits[search.labels.reshape(-1) >= 0]


def layout(stages: list[Stage], units: Units) -> tuple[np.ndarray, int, int]:
    """Return (stage table, int32 units, float64 units); a stage is wide if its sums could leave int32."""
    table, held, parameters, channels = np.zeros((len(stages), COLUMNS), np.int64), [0, 0], 0, 0
    wide = not units.exact
    source = take(held, wide, int(np.prod(stages[0].source)))
    for row, stage, bound in zip(table, stages, units.bounds, strict=True):
        wide = wide or bound >= NARROW_BOUND
        c_out, c_in, kh, kw = stage.kernel
        row[:POOL_Y - 1] = (c_in, *stage.source[1:], c_out, kh, kw, *stage.stride, *stage.padding, *stage.sums)
        row[RELU:WEIGHTS] = stage.relu, *stage.pool, *stage.pool_stride, stage.pooling, *stage.pooled
        norm = (stage.norm.weight, stage.norm.bias) if stage.norm else (None, None)
        for column, p in zip((WEIGHTS, BIAS, GAMMA, BETA), (stage.weight, stage.bias, *norm), strict=True):
            row[column] = NONE if p is None else parameters
            parameters += 0 if p is None else p.size
        row[CHANNEL], row[INPUT] = channels, source
        channels += c_out
        pixels = stage.sums[0] * stage.sums[1]
        row[SUMS] = take(held, wide, c_out * pixels)
        row[NORMED] = take(held, wide, c_out * pixels) if stage.norm else row[SUMS]
        row[OUTPUT] = source = take(held, wide, int(np.prod(stage.output)))
        row[WIDE] = wide
    take(held, wide, STANDINGS)
    return table, held[0], held[1]


def take(held: list[int], wide: bool, count: int) -> int:
    """Reserve `count` units of one kind and return their offset; held counts both kinds."""
    start = held[wide]
    held[wide] += count
    return start
