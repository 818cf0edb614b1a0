"""Scale before rounding (METHODS.md, section 3): every parameter of a chain at its nearest level, one scale a layer.

A network of products, ReLU and maxima keeps its argmax when layer l is divided by c_l > 0 and its bias by the product
of c_1 ... c_l. So a weight is c_l * level; a bias is c_1 ... c_l * level in units of the integer network's input.
"""
import numpy as np

from tinyq.errors import BadInput
from tinyq.methods.scale import best_scale
from tinyq.methods.straight_through import LevelView


def round_chain(stages, level_set, inputs):
    """(codes (parameters,) uint8, scales (stages,) float64): each layer's c_l is that of the least squared rounding
    error of its weight. inputs: how many units of the integer network make 1 of the input.
    """
    codes, scales, product = [], [], 1.0
    for stage in stages:
        for name, p in stage.parameters:
            if not np.isfinite(p.data).all():
                raise BadInput(f"{name}: its pretrained values are not all finite; give a trained network")
        w = stage.weight.data.reshape(-1).astype(np.float64)
        scales.append(best_scale(w, level_set) or 1.0)
        product *= scales[-1]
        codes.append(level_set.codes(w, scales[-1]))
        if stage.bias is not None:
            codes.append(level_set.codes(stage.bias.data.astype(np.float64), product / inputs))
    return np.concatenate(codes), np.array(scales)


def install_views(stages, level_set, inputs, scales):
    """Give every parameter the LevelView of its scale; a layer asks its weight's, a bias is what the view shows."""
    product = 1.0
    for stage, scale in zip(stages, scales.tolist(), strict=True):
        product *= scale
        stage.weight.view = LevelView(level_set, np.asarray(scale, stage.weight.dtype))
        if stage.bias is not None:
            stage.bias.view = LevelView(level_set, np.asarray(product / inputs, stage.bias.dtype))


def show(stages, codes):
    """Make every parameter scale * level."""
    start = 0
    for p in (p for stage in stages for _, p in stage.parameters):
        levels = p.view.level_set.values.astype(p.dtype)[codes[start:start + p.size]]
        p.data[...] = (p.view.scale * levels).reshape(p.shape)
        start += p.size
