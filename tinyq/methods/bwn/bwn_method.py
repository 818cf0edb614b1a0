"""BWN, binary-weight networks (Rastegari et al., 2016; methods/README.md, section 5)."""
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinyq.levels import NAMED, Levels, LevelSet
from tinyq.methods.latent_method import LatentMethod, LatentWeight
from tinyq.methods.least_squares_scale import mean_magnitudes
from tinyq.methods.straight_through import LevelQuantizer


@dataclass
class BWN(LatentMethod):
    """Binary-weight networks, the weights of XNOR-Net: a sign per weight, and their mean magnitude per filter.

    Forward, with n weights w in a filter: Q(w) = a * sign(w), a = mean |w|.
    Gradient: d loss / d w = d loss / d Q(w) * (1 / n + a * [|w| <= 1]).

    Reference: Rastegari et al., "XNOR-Net: ImageNet Classification Using Binary Convolutional Neural Networks", ECCV
    2016, section 3.1; methods/README.md, section 5.

    Args:
        levels: binary, for all layers.
        loss: what a step lowers, and the kind of task it serves.
    """

    levels: Levels = NAMED["binary"]

    label: ClassVar[str] = "bwn"
    defined_for: ClassVar[str] = "binary alone; give binary"

    @classmethod
    def accepts(cls, level_set: LevelSet) -> bool:
        """Return True for -1, 1."""
        return level_set.levels == NAMED["binary"].levels

    def quantise(self, weight: LatentWeight) -> None:
        """Take the scales from the latent, and the slope of the paper's gradient with them."""
        w = weight.parameter.data
        scale = mean_magnitudes(w)
        one = w.dtype.type(1)
        within = scale.reshape(-1, *[1] * (w.ndim - 1)) * (np.abs(w) <= one)
        weight.use(LevelQuantizer(weight.level_set, scale, slope=one / w.dtype.type(w[0].size) + within))
