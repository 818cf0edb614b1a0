"""TWN, ternary weight networks (Li, Zhang and Liu, 2016; methods/README.md, section 6)."""
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinyq import kernels
from tinyq.levels import NAMED, Levels, LevelSet
from tinyq.methods.latent_method import LatentMethod, LatentWeight
from tinyq.methods.least_squares_scale import or_one
from tinyq.methods.straight_through import LevelQuantizer

SHARE = 0.7                             # of the mean magnitude, at which weights leave 0


@dataclass
class TWN(LatentMethod):
    """Ternary weight networks: weights of small magnitude become 0, the others a scale times their sign.

    Forward, for a whole tensor: d = 0.7 * mean |w|, a = mean of |w| where |w| > d, Q(w) = a * sign(w) there, else 0.
    Gradient: d loss / d w = d loss / d Q(w).

    Reference: Li, Zhang and Liu, "Ternary Weight Networks", 2016; methods/README.md, section 6.

    Args:
        levels: ternary, for all layers.
        loss: what a step lowers, and the kind of task it serves.
    """

    levels: Levels = NAMED["ternary"]

    label: ClassVar[str] = "twn"
    defined_for: ClassVar[str] = "ternary alone; give ternary"

    @classmethod
    def accepts(cls, level_set: LevelSet) -> bool:
        """Return True for -1, 0, 1."""
        return level_set.levels == NAMED["ternary"].levels

    def quantise(self, weight: LatentWeight) -> None:
        """Take threshold and scale from the latent."""
        size = np.abs(weight.parameter.data).reshape(-1)
        threshold = size.dtype.type(SHARE) * kernels.sum(size, (0,)) / size.dtype.type(size.size)
        weight.use(ternary_quantizer(weight.level_set, mean_beyond(size, threshold), threshold))


def mean_beyond(size: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Return the mean of the magnitudes (n,) above a threshold, () in their dtype; 1 if there are none."""
    beyond = size[size > threshold]
    return or_one(np.asarray(kernels.sum(beyond, (0,)) / size.dtype.type(max(beyond.size, 1)), size.dtype))


def ternary_quantizer(level_set: LevelSet, scale: np.ndarray, threshold: np.ndarray,
                      slope: np.ndarray | None = None) -> LevelQuantizer:
    """Make the quantizer of three levels whose middle one takes the weights in [-threshold, threshold]."""
    threshold = np.asarray(threshold)
    below = np.nextafter(-threshold, threshold.dtype.type(-np.inf))     # -threshold itself goes to 0: levels are w > t
    return LevelQuantizer(level_set, scale, np.stack([below, threshold]), slope)
