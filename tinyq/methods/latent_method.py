"""Keep a float latent of each constrained weight, and quantise it anew after every step."""
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinyq import kernels
from tinyq.errors import UsageError
from tinyq.levels import NAMED, LayerLevels, Levels, LevelSet
from tinyq.methods.base import GradientMethod, check_state, constrained_weights
from tinyq.methods.gradient_step import Batch, Step, gradient_step, require_finite
from tinyq.methods.least_squares_scale import check_pretrained
from tinyq.methods.straight_through import LevelQuantizer
from tinyq.nn import Parameter


class LatentWeight:
    """A constrained weight whose optimiser moves a float latent, and whose layer computes with scale * level.

    name: dotted. parameter: holds the latent, in weight units. level_set: normalised levels, as configured.
    quantizer: what the layer computes with between steps. basis: of levels that are learned, (bits,) float64 ascending.
    """

    quantizer: LevelQuantizer
    basis: np.ndarray

    def __init__(self, name: str, parameter: Parameter, level_set: LevelSet) -> None:
        """Take the weight over; nothing is quantised yet."""
        self.name, self.parameter, self.level_set = name, parameter, level_set

    @property
    def scale(self) -> np.ndarray:
        """Scale of the quantizer, () or (c_out,)."""
        return self.quantizer.scale

    def use(self, quantizer: LevelQuantizer) -> None:
        """Let the layer compute with this quantizer."""
        self.quantizer = self.parameter.parametrization = quantizer

    def quantise_in_place(self) -> None:
        """Replace the latent by scale * level; Diverged if it holds a NaN or an infinity."""
        w = self.parameter.data
        require_finite(kernels.sum(np.abs(w).reshape(-1), (0,)).item(), f"the sum of weights in {self.name}")
        w[...] = self.quantizer.effective(w)
        self.use(LevelQuantizer(self.quantizer.level_set, self.quantizer.scale))


@dataclass
class LatentMethod(GradientMethod):
    """Base class of the methods that quantise a float latent of each constrained weight in every step.

    A subclass names itself and its level sets, and makes the quantizer of a weight from its latent.
    State: weights, a LatentWeight per constrained weight.
    """

    levels: Levels = NAMED["ternary"]

    label: ClassVar[str]                        # in messages
    defined_for: ClassVar[str]                  # level sets, in words that complete "is defined for"

    def __post_init__(self) -> None:
        """Raise UsageError for a level set that the method is not defined for."""
        for level_set in self.levels.sets.values() if isinstance(self.levels, LayerLevels) else (self.levels,):
            if not self.accepts(level_set):
                raise UsageError(f"levels {level_set.name}: {self.label} is defined for {self.defined_for}")

    @classmethod
    def accepts(cls, level_set: LevelSet) -> bool:
        """Return True for the level sets that the method is defined for."""
        return True

    @abstractmethod
    def quantise(self, weight: LatentWeight) -> None:
        """Make the weight's quantizer from its latent."""

    def prepare(self, weight: LatentWeight) -> None:
        """Make what is taken from a pretrained weight once; nothing, unless a subclass says so."""

    def arrays(self, weight: LatentWeight) -> dict[str, np.ndarray]:
        """Return {name: array} of what a resume needs of a weight besides its latent; {} unless a subclass says so."""
        return {}

    def restore(self, weight: LatentWeight, arrays: dict[str, np.ndarray]) -> None:
        """Continue a weight from its `arrays`."""

    def array_shapes(self, weight: LatentWeight) -> dict[str, tuple[int, ...]]:
        """Return the shape of each of the weight's `arrays`."""
        return {}

    def start(self) -> None:
        """Take over the pretrained weights; BadInput, by name, for one that is not finite."""
        self.weights = self._weights()
        for weight in self.weights:
            check_pretrained(weight.parameter.data, weight.name)
            self.prepare(weight)
            self.quantise(weight)

    def update(self, batches: Sequence[Batch]) -> Step:
        """Take the gradient step on the latents, and quantise them anew."""
        return gradient_step(self.model, self.optimizer, batches, loss=self.loss, after=self.requantise)

    def requantise(self) -> None:
        """Make every quantizer from the latents as they are."""
        for weight in self.weights:
            self.quantise(weight)

    def finish(self) -> None:
        """Put every constrained weight on its level: scale * level to the bit."""
        for weight in self.weights:
            weight.quantise_in_place()

    def state(self) -> dict:
        """Return the sums of the epoch, and each weight's arrays."""
        return {**super().state(), **{f"{key}/{weight.name}": array.copy() for weight in self.weights
                                      for key, array in self.arrays(weight).items()}}

    def load_state(self, state: dict) -> None:
        """Continue from a `state`; BadInput lists what does not fit the network."""
        weights = self._weights()
        check_state(state, {**self.shapes(), **{f"{key}/{weight.name}": shape for weight in weights
                                                for key, shape in self.array_shapes(weight).items()}})
        super().load_state(state)
        self.weights = weights
        for weight in weights:
            self.restore(weight, {key: np.array(state[f"{key}/{weight.name}"]) for key in self.array_shapes(weight)})
            self.quantise(weight)

    def _weights(self) -> list[LatentWeight]:
        return [LatentWeight(name, parameter, self.levels.of(name))
                for name, parameter in constrained_weights(self.model, self.label)]
