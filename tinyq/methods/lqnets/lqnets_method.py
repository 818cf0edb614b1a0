"""LQ-Nets, learned quantisation (Zhang et al., 2018; methods/README.md, section 7)."""
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinyq import kernels
from tinyq.levels import NAMED, Levels, LevelSet, set_of
from tinyq.methods.latent_method import LatentMethod, LatentWeight
from tinyq.methods.least_squares_scale import mean_magnitudes
from tinyq.methods.straight_through import LevelQuantizer

KEPT = 0.9                              # share of the basis that a step keeps
STEPS = 64                              # inner levels are multiples of 1 / STEPS of the outer ones: integers in C


@dataclass
class LQNets(LatentMethod):
    """Learned quantisation: levels are sums of +-v over a basis v that follows the weights by least squares.

    Forward, with m = mean |w| of an output filter: Q(w) = m * nearest of {b . v}, b in {-1, 1}^K, K = 1 or 2 bits.
    Basis, after each step: v = 0.9 v + 0.1 argmin over v of |w / m - b . v|, with b of the levels as they are.
    Gradient: d loss / d w = d loss / d Q(w).

    Reference: Zhang et al., "LQ-Nets: Learned Quantization for Highly Accurate and Compact Deep Neural Networks", ECCV
    2018; methods/README.md, section 7.

    Args:
        levels: binary for 1 bit, or four symmetric levels without 0, such as -3,-1,1,3, that 2 bits begin with.
        loss: what a step lowers, and the kind of task it serves.
    """

    levels: Levels = NAMED["binary"]

    label: ClassVar[str] = "lqnets"
    defined_for: ClassVar[str] = "binary, and four symmetric levels; give binary, or -3,-1,1,3"

    @classmethod
    def accepts(cls, level_set: LevelSet) -> bool:
        """Return True for two or four symmetric levels."""
        levels = level_set.levels
        return len(levels) in (2, 4) and all(low == -high for low, high in zip(levels, reversed(levels), strict=True))

    def prepare(self, weight: LatentWeight) -> None:
        """Begin with the basis of the given levels, scaled to the weights, and fit it once."""
        outer = weight.level_set.values[len(weight.level_set.values) // 2:]
        basis = outer if len(outer) == 1 else np.array([(outer[1] - outer[0]) / 2, (outer[1] + outer[0]) / 2])
        weight.basis = basis / outer.mean()
        self.quantise(weight)
        weight.basis = fitted_basis(weight)

    def quantise(self, weight: LatentWeight) -> None:
        """Make the levels of the basis, and a scale per filter from the latent."""
        w, total = weight.parameter.data, float(weight.basis[0] + weight.basis[-1] * (len(weight.basis) - 1))
        scale = mean_magnitudes(w) * w.dtype.type(total)
        weight.use(LevelQuantizer(level_set_of(weight.basis), scale))

    def requantise(self) -> None:
        """Move each basis towards the best one of the new latents, and quantise with it."""
        for weight in self.weights:
            weight.basis = KEPT * weight.basis + (1 - KEPT) * fitted_basis(weight)
        super().requantise()

    def arrays(self, weight: LatentWeight) -> dict[str, np.ndarray]:
        """Return the basis."""
        return {"basis": weight.basis}

    def array_shapes(self, weight: LatentWeight) -> dict[str, tuple[int, ...]]:
        """Return the shape of the basis: one entry per bit."""
        return {"basis": (weight.level_set.bits,)}

    def restore(self, weight: LatentWeight, arrays: dict[str, np.ndarray]) -> None:
        """Continue with the basis of a state."""
        weight.basis = arrays["basis"].astype(np.float64)


def level_set_of(basis: np.ndarray) -> LevelSet:
    """Return the sums of +-v, in units of the largest; the inner pair is a whole number of steps of 1 / STEPS."""
    if len(basis) == 1:
        return NAMED["binary"]
    inner = (basis[1] - basis[0]) / (basis[1] + basis[0])
    step = min(max(round(float(inner) * STEPS), 1), STEPS - 1) / STEPS
    return set_of((-1.0, -step, step, 1.0))


def fitted_basis(weight: LatentWeight) -> np.ndarray:
    """Return the basis of least squares for the levels that the weights have now, ascending; (K,) float64."""
    w, codes = weight.parameter.data, weight.quantizer.codes(weight.parameter.data).reshape(-1)
    scale = mean_magnitudes(w).reshape(-1, *[1] * (w.ndim - 1))
    x, n = (w / scale).astype(np.float64).reshape(-1), codes.size
    signs = [2.0 * (codes >> bit & 1) - 1 for bit in range(len(weight.basis))]      # lowest bit first: v ascends
    along = [_sum(sign * x) for sign in signs]
    if len(signs) == 1:
        return np.array([along[0] / n]) if along[0] > 0 else weight.basis
    both = _sum(signs[0] * signs[1])
    if n * n == both * both:                            # one of the pairs of levels is empty
        return weight.basis
    found = np.array([n * along[0] - both * along[1], n * along[1] - both * along[0]]) / (n * n - both * both)
    found = np.sort(np.abs(found))
    return found if found[0] > 0 and found[0] < found[1] else weight.basis


def _sum(x):
    return kernels.sum(x, (0,)).item()
