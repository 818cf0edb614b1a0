"""Scale and round every parameter to its nearest level, with one scale per layer (methods/README.md, section 3).

A network of products, ReLU and maxima keeps its argmax when layer l is divided by c_l > 0 and its bias by the product
of c_1 ... c_l. So a weight is c_l * level; a bias is c_1 ... c_l * level in units of the integer network's input. Batch
norm takes sums in true units and has a scale of its own, that of its weight, with which the product starts again.
A mean over a window is kept as the sum of its values.
"""
import numpy as np

from tinyq.errors import BadInput
from tinyq.levels import Levels
from tinyq.methods.conntra.chain import Stage
from tinyq.methods.least_squares_scale import best_scale
from tinyq.methods.straight_through import LevelQuantizer


def round_chain(stages: list[Stage], levels: Levels, inputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return codes (parameters,) uint8 and scales (stages, 2) float64: c_l, and batch norm's scale or 0.

    Each scale has the least squared rounding error for its weight. inputs: number of the integer network that
    stands for an input of 1.
    """
    for name, p in (named for stage in stages for named in stage.parameters):
        if not np.isfinite(p.data).all():
            raise BadInput(f"{name}: its pretrained values are not all finite; give a trained network")
    scales = np.array([_scales(stage, *stage.sets(levels)) for stage in stages])
    codes = [levels.of(name).codes(p.data.reshape(-1).astype(np.float64), scale)
             for name, p, scale in _scaled(stages, scales, inputs)]
    return np.concatenate(codes), scales


def install_quantizers(stages: list[Stage], levels: Levels, inputs: int, scales: np.ndarray) -> None:
    """Give every parameter a LevelQuantizer with its scale; layers use that of their weight, files use all."""
    for name, p, scale in _scaled(stages, scales, inputs):
        p.parametrization = LevelQuantizer(levels.of(name), np.asarray(scale, p.dtype))


def units_of(stages: list[Stage], scales: np.ndarray) -> tuple[np.ndarray, float]:
    """Return (scale of each stage's sums (stages,), scale of the logits), without the units of levels and input."""
    of_sums, unit = [], 1.0
    for stage, (scale, norm_scale) in zip(stages, scales.tolist(), strict=True):
        of_sums.append(unit * scale)
        unit = (norm_scale or of_sums[-1]) / stage.summed
    return np.array(of_sums), unit


def show(stages: list[Stage], codes: np.ndarray) -> None:
    """Set every parameter to scale * level."""
    start = 0
    for p in (p for stage in stages for _, p in stage.parameters):
        quantizer = p.parametrization
        assert isinstance(quantizer, LevelQuantizer)
        levels = quantizer.level_set.values.astype(p.dtype)[codes[start:start + p.size]]
        p.data[...] = (quantizer.scale * levels).reshape(p.shape)
        start += p.size


def _scaled(stages, scales, inputs):
    """Yield (dotted name, Parameter, scale) in the order of the codes."""
    units, _ = units_of(stages, scales)
    for stage, (scale, norm_scale), unit in zip(stages, scales.tolist(), units.tolist(), strict=True):
        of = {id(stage.weight): scale, id(stage.bias): unit / inputs}       # the others are batch norm's
        yield from ((name, p, of.get(id(p), norm_scale)) for name, p in stage.parameters)


def _scale_of(p, level_set):
    return best_scale(p.data.reshape(-1).astype(np.float64), level_set) or 1.0


def _scales(stage, of_product, of_norm):
    """Return the product's scale, and batch norm's: 1 if it has no weight, 0 if there is no batch norm."""
    scale = _scale_of(stage.weight, of_product)
    if not stage.norm:
        return scale, 0.0
    return scale, 1.0 if stage.norm.weight is None else _scale_of(stage.norm.weight, of_norm)
