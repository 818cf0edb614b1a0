"""The integer program: the operations that every executor computes to the same bits.

Activations are codes q that stand for scale * (q - zero). Products sum code times integer level exactly in int32 and
store

    code = clamp(round((sum * multiplier + offset + (added code * added multiplier << added shift)) / 2^shift))

computed in int64, rounding half to even (kernels/reference/integer/requantise.py). Padding around an image is the code
`zero`; the offsets account for it.

A value is named by the number of the graph node that computes it; the network's input is -1.
"""
from dataclasses import dataclass, replace

import numpy as np

from tinyq.kernels.geometry.conv_geometry import ConvGeometry
from tinyq.kernels.geometry.pooling_windows import Windows
from tinyq.packed.file.tensor import EncodedTensor
from tinyq.packed.integer.level_units import integer_levels_of

MAX_SUM = 2**31 - 1


@dataclass(frozen=True)
class Quant:
    """Meaning and range of a value's codes: code q stands for scale * (q - zero), low <= q <= high."""

    scale: float                # exactly a float32
    zero: int
    low: int
    high: int


@dataclass(frozen=True)
class Requant:
    """Turn sums into codes, as the module's formula says. multiplier int32, offset int64: one per row or window.

    Both are empty in an executor that stores them in its own layout.
    """

    multiplier: np.ndarray
    offset: np.ndarray
    shift: int
    low: int                    # smallest code; with a ReLU the code of 0
    high: int
    added_multiplier: int = 0
    added_shift: int = 0


class _OnCodes:
    """Liveness of an operation that reads the codes of x and writes those of y."""

    x: int
    y: int

    @property
    def reads(self) -> tuple[int, ...]:
        """Values whose codes are read."""
        return (self.x,)

    @property
    def writes(self) -> tuple[int, ...]:
        """Values whose codes are written."""
        return (self.y,)

    @property
    def overwritable(self) -> tuple[int, ...]:
        """Values read here whose memory the output may take: element i of y depends on their element i alone."""
        return ()


@dataclass(frozen=True, eq=False)
class IntegerProduct(_OnCodes):
    """Convolve the codes, or multiply them by a matrix if geometry (of one sample) is None; requantise the sums.

    tensor: None in an executor that stores the weights in its own layout.
    """

    x: int
    y: int
    added: int | None
    tensor: EncodedTensor | None
    unit: float                 # the levels are whole multiples of it; 1 for "i8"
    geometry: ConvGeometry | None
    padding_code: int
    requant: Requant

    @property
    def reads(self) -> tuple[int, ...]:
        """Values whose codes are read: x and, if there is one, the added value."""
        return (self.x, *self.overwritable)

    @property
    def overwritable(self) -> tuple[int, ...]:
        """The added value."""
        return () if self.added is None else (self.added,)


@dataclass(frozen=True, eq=False)
class MaxPool(_OnCodes):
    """Take the largest code of each window."""

    x: int
    y: int
    windows: Windows


@dataclass(frozen=True, eq=False)
class Mean(_OnCodes):
    """Requantise the sum of codes of each window."""

    x: int
    y: int
    windows: Windows
    requant: Requant


@dataclass(frozen=True)
class Add(_OnCodes):
    """Requantise the weighted sum of two values; requant.multiplier is the weight of x.

    A value times a number, plus a number, is the sum with itself of weight 0.
    """

    x: int
    y: int
    added: int
    requant: Requant

    @property
    def reads(self) -> tuple[int, ...]:
        """Both values."""
        return (self.x, self.added)

    @property
    def overwritable(self) -> tuple[int, ...]:
        """Both values."""
        return (self.x, self.added)


@dataclass(frozen=True)
class Clip(_OnCodes):
    """Raise codes below `low` to it, and lower those above `high`."""

    x: int
    y: int
    low: int
    high: int

    @property
    def overwritable(self) -> tuple[int, ...]:
        """The value read."""
        return (self.x,)


@dataclass(frozen=True)
class Move(_OnCodes):
    """y[target] = x[source], slices of a sample's axes; first fill y with the code `fill`, unless it is None."""

    x: int
    y: int
    source: tuple[slice, ...]
    target: tuple[slice, ...]
    fill: int | None


@dataclass(frozen=True)
class Reshape(_OnCodes):
    """Give the same elements another shape, in C order of (c, h, w)."""

    x: int
    y: int


@dataclass(frozen=True)
class Quantise:
    """Floats to codes: clamp(rint(x * reciprocal) + zero), in float32 arithmetic."""

    x: int
    y: int
    reciprocal: float
    quant: Quant

    @property
    def reads(self) -> tuple[int, ...]:
        """None: it reads floats."""
        return ()

    @property
    def writes(self) -> tuple[int, ...]:
        """The codes."""
        return (self.y,)


@dataclass(frozen=True)
class Dequantise:
    """Codes to floats: (q - zero) * scale, in float32 arithmetic."""

    x: int
    y: int
    quant: Quant

    @property
    def reads(self) -> tuple[int, ...]:
        """The codes."""
        return (self.x,)

    @property
    def writes(self) -> tuple[int, ...]:
        """None: it writes floats."""
        return ()


@dataclass(frozen=True)
class Float:
    """Compute a graph node in float32."""

    y: int

    @property
    def reads(self) -> tuple[int, ...]:
        """None: it reads floats."""
        return ()

    @property
    def writes(self) -> tuple[int, ...]:
        """None: it writes floats."""
        return ()


def integer_levels(op: IntegerProduct) -> np.ndarray:
    """Return a product's weights as whole multiples of its unit, int8 in the weights' shape."""
    assert op.tensor is not None
    return integer_levels_of(op.tensor, op.unit)


CodeOperation = IntegerProduct | MaxPool | Mean | Add | Clip | Move | Reshape
IntegerOperation = CodeOperation | Quantise | Dequantise | Float


@dataclass(frozen=True, eq=False)
class IntegerProgram:
    """Operations in order; codes are `dtype`, those of a wide result int32 (`is_wide`).

    A value has floats, codes or both; Quantise and Dequantise convert. quants: one per value with codes.
    """

    kind: str
    dtype: np.dtype
    operations: tuple[IntegerOperation, ...]
    shapes: dict[int, tuple[int, ...]]
    quants: dict[int, Quant]
    result: int
    end: int                    # the last value with codes: the result, or what only floats at the end are made of

    def is_wide(self, value: int) -> bool:
        """Return whether a value's codes are int32: those of a last product that adds nothing."""
        return value == self.end and any(
            isinstance(op, IntegerProduct) and op.y == value and op.added is None for op in self.operations)

    @property
    def products(self) -> tuple[IntegerProduct, ...]:
        """The operations that have weights."""
        return tuple(op for op in self.operations if isinstance(op, IntegerProduct))

    @property
    def floats(self) -> tuple[int, ...]:
        """Numbers of the nodes computed in float32."""
        return tuple(op.y for op in self.operations if isinstance(op, Float))

    def without_weights(self) -> "IntegerProgram":
        """Copy the program without the weights and the per-row numbers of its products."""
        nothing = np.empty(0, np.int64)
        return replace(self, operations=tuple(
            replace(op, tensor=None, requant=replace(op.requant, multiplier=nothing, offset=nothing))
            if isinstance(op, IntegerProduct) else op for op in self.operations))
