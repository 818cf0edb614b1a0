"""STE, the straight-through estimator on its own (methods/README.md, section 4): the baseline of the other methods."""
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinyq.errors import UsageError, did_you_mean
from tinyq.levels import NAMED, Levels
from tinyq.methods.latent_method import LatentMethod, LatentWeight
from tinyq.methods.least_squares_scale import best_scales, check_distinct, mean_magnitudes
from tinyq.methods.straight_through import LevelQuantizer

LEAST_SQUARES, MEAN = SCALES = ("least-squares", "mean")


@dataclass
class STE(LatentMethod):
    """Straight-through estimator: backprop on quantised weights, and nothing else.

    Forward: Q(w) = s * nearest level of w / s, with a scale s per output filter that is found once.
    Gradient: d loss / d w = d loss / d Q(w).

    Reference: Bengio, Leonard and Courville, "Estimating or Propagating Gradients Through Stochastic Neurons for
    Conditional Computation", 2013; methods/README.md, section 4.

    Args:
        levels: set of normalised levels that the constrained weights end on, or one for each layer.
        scale: least-squares, which minimises |w - Q(w)| in the pretrained weights, or mean, which is mean |w|.
        loss: what a step lowers, and the kind of task it serves.
    """

    levels: Levels = NAMED["ternary"]
    scale: str = LEAST_SQUARES

    label: ClassVar[str] = "ste"
    defined_for: ClassVar[str] = "every set"

    def __post_init__(self) -> None:
        """Raise UsageError for an unknown scale."""
        super().__post_init__()
        if self.scale not in SCALES:
            raise UsageError(f"scale {self.scale}: no such scale; {did_you_mean(self.scale, SCALES)}")

    def prepare(self, weight: LatentWeight) -> None:
        """Find the scales of a pretrained weight."""
        w = weight.parameter.data
        scale = mean_magnitudes(w) if self.scale == MEAN else best_scales(w, weight.level_set, weight.name)
        check_distinct(weight.name, weight.level_set, scale)
        weight.use(LevelQuantizer(weight.level_set, scale))

    def quantise(self, weight: LatentWeight) -> None:
        """Do nothing: the scales stay as they are."""

    def arrays(self, weight: LatentWeight) -> dict[str, np.ndarray]:
        """Return the scales."""
        return {"scale": weight.scale}

    def array_shapes(self, weight: LatentWeight) -> dict[str, tuple[int, ...]]:
        """Return the shape of the scales."""
        return {"scale": (len(weight.parameter.data),)}

    def restore(self, weight: LatentWeight, arrays: dict[str, np.ndarray]) -> None:
        """Continue with the scales of a state."""
        weight.use(LevelQuantizer(weight.level_set, arrays["scale"].astype(weight.parameter.dtype)))
