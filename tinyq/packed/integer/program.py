"""The network in integers: what every executor computes, whatever it computes with, to the bit.

Activations are codes q that stand for scale * (q - zero). Products sum code times integer level exactly in int32; what
is stored is

    code = clamp(round((sum * multiplier + offset + (added code * added multiplier << added shift)) / 2^shift))

in int64, rounding half to even (kernels/reference/integer/requantise.py). Zeros around an image are the code `zero`,
which the offsets account for.
"""
from dataclasses import dataclass, replace

import numpy as np

from tinyq.kernels.geometry.conv_geometry import ConvGeometry
from tinyq.kernels.geometry.pooling_windows import Windows
from tinyq.packed.file.tensor import Tensor

MAX_SUM = 2**31 - 1


@dataclass(frozen=True)
class Quant:
    """What the codes of a value mean, and the least and largest of them."""

    scale: float                # a float32
    zero: int
    low: int
    high: int


@dataclass(frozen=True)
class Requant:
    """The affine behind sums; see the module. multiplier int32, offset int64: one for each row or window.

    None where an executor keeps them in a form of its own.
    """

    multiplier: np.ndarray | None
    offset: np.ndarray | None
    shift: int
    low: int                    # of the codes: with a ReLU the code of 0
    high: int
    added_multiplier: int = 0
    added_shift: int = 0


@dataclass(frozen=True, eq=False)
class Product:
    """Values are named by their nodes' numbers, the input is -1. geometry: of one sample; None for a linear layer.

    tensor: None where an executor keeps the weights in a form of its own.
    """

    x: int
    y: int
    added: int | None
    tensor: Tensor | None
    unit: float                 # what the levels are multiples of; 1 for "i8"
    geometry: ConvGeometry | None
    padding_code: int
    requant: Requant


@dataclass(frozen=True, eq=False)
class MaxPool:
    """The largest code of each window."""

    x: int
    y: int
    windows: Windows


@dataclass(frozen=True, eq=False)
class Mean:
    """The requantised sum of codes of each window."""

    x: int
    y: int
    windows: Windows
    requant: Requant


@dataclass(frozen=True)
class Add:
    """The requantised weighted sum of two values, the first one's multiplier in requant.multiplier."""

    x: int
    y: int
    added: int
    requant: Requant


@dataclass(frozen=True)
class Clip:
    """The codes, those below `low` raised to it."""

    x: int
    y: int
    low: int


@dataclass(frozen=True)
class Move:
    """y[target] = x[source] (slices of a sample's axes), y filled with a code before unless that is None."""

    x: int
    y: int
    source: tuple[slice, ...]
    target: tuple[slice, ...]
    fill: int | None


@dataclass(frozen=True)
class Reshape:
    """The same elements in C order of (c, h, w)."""

    x: int
    y: int


@dataclass(frozen=True)
class Quantise:
    """Floats to codes: clamp(rint(x * reciprocal) + zero), float32 arithmetic."""

    x: int
    y: int
    reciprocal: float
    quant: Quant


@dataclass(frozen=True)
class Dequantise:
    """Codes to floats: (q - zero) * scale, float32 arithmetic."""

    x: int
    y: int
    quant: Quant


@dataclass(frozen=True)
class Float:
    """A node computed in float32."""

    y: int


@dataclass(frozen=True, eq=False)
class Program:
    """Operations in order; codes are `dtype`.

    A value has a float32 form, an integer form or both: Quantise and Dequantise are between the two. quants: of those
    with codes. The result's codes are int32.
    """

    kind: str
    dtype: np.dtype
    operations: tuple
    shapes: dict[int, tuple[int, ...]]
    quants: dict[int, Quant]
    result: int

    def is_wide(self, value: int) -> bool:
        """Whether its codes are int32: those of a last product that adds nothing."""
        return value == self.result and any(
            isinstance(op, Product) and op.y == value and op.added is None for op in self.operations)

    @property
    def floats(self) -> tuple[int, ...]:
        """The nodes that are computed in float32."""
        return tuple(op.y for op in self.operations if isinstance(op, Float))

    def without_weights(self) -> "Program":
        """The same with products that have neither tensors nor the numbers of each row."""
        return replace(self, operations=tuple(
            replace(op, tensor=None, requant=replace(op.requant, multiplier=None, offset=None))
            if isinstance(op, Product) else op for op in self.operations))
