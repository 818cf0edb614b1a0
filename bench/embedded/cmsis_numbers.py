"""Numbers of a tinyq product as CMSIS-NN takes them: int8 weights in the order rows, height, width, channels."""
import math
from dataclasses import dataclass

import numpy as np

from tinyq.packed.integer.program import IntegerProduct, Quant, integer_levels

SIGN = 128                              # int8 code = uint8 code - 128


@dataclass(frozen=True)
class Meaning:
    """An int8 code q stands for scale * (q - zero)."""

    scale: float
    zero: int


@dataclass(frozen=True)
class Product:
    """Weights (rows, ...) int8; bias, multiplier and shift (rows,) int32; sums: bias + input offset * sum of weights.

    Multiplier and shift turn a sum into the output's code.
    """

    weights: np.ndarray
    bias: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray
    sums: np.ndarray


def meaning_of(quant: Quant) -> Meaning:
    """Return what the int8 codes of a value mean if they are those of tinyq less 128."""
    return Meaning(quant.scale, quant.zero - SIGN)


def meaning_of_range(values: np.ndarray) -> Meaning:
    """Return a meaning that covers these numbers."""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    scale = (high - low) / 255
    return Meaning(scale, round(-SIGN - low / scale))


def product(op: IntegerProduct, quants: dict[int, Quant], x: Meaning, y: Meaning, image: tuple[int, ...]) -> Product:
    """Translate a product, without what it adds; x, y: meanings in CMSIS-NN's program.

    image: shape (c, h, w) that a linear layer's input had before it was flattened, or (n,).
    """
    requant, levels = op.requant, integer_levels(op)
    ours, result = quants[op.x], quants[op.y]
    power = 2.0 ** -requant.shift
    factor = np.broadcast_to(requant.multiplier * power, len(levels))
    added = requant.added_multiplier * 2.0 ** requant.added_shift * power
    added_zero = 0 if op.added is None else quants[op.added].zero
    total = levels.reshape(len(levels), -1).sum(axis=1, dtype=np.int64)
    shift = factor * ours.zero * total + requant.offset * power - result.zero + added * added_zero
    # In units of the output's new codes: those of a sum over (code - zero) * level, and those of a constant.
    per_sum, constant = factor * result.scale * (x.scale / ours.scale) / y.scale, shift * result.scale / y.scale
    sign = np.where(per_sum < 0, -1, 1)
    weights = levels * sign.reshape(-1, *[1] * (levels.ndim - 1)).astype(np.int8)
    weights[per_sum == 0] = 0
    per_sum = np.where(per_sum == 0, 1.0, np.abs(per_sum))
    bias = np.rint(constant / per_sum).astype(np.int32)
    multiplier, exponent = zip(*map(fixed_point, per_sum), strict=True)
    weights = _rearranged(weights, image)
    sums = bias - x.zero * weights.reshape(len(weights), -1).sum(axis=1, dtype=np.int64)
    return Product(weights, bias, np.array(multiplier), np.array(exponent), sums)


def fixed_point(number: float) -> tuple[int, int]:
    """Return (multiplier, shift): number = multiplier * 2^(shift - 31)."""
    mantissa, exponent = math.frexp(number)
    multiplier = round(mantissa * 2**31)
    return (multiplier // 2, exponent + 1) if multiplier == 2**31 else (multiplier, exponent)


def _rearranged(weights, image):
    if weights.ndim == 2 and len(image) == 3:
        weights = weights.reshape(len(weights), *image)
    return np.ascontiguousarray(weights.transpose(0, 2, 3, 1)) if weights.ndim == 4 else weights
