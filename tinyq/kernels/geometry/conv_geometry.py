"""Check and compute the shapes of a convolution."""
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tinyq.errors import UsageError

Pair = int | tuple[int] | tuple[int, int]      # for the rows and for the columns; one number for both


@dataclass(frozen=True)
class ConvGeometry:
    """Sizes of y = x * w: x (n, c_in, h, w), w (c_out, c_in / groups, kh, kw), y (n, c_out, oh, ow)."""

    x_shape: tuple[int, int, int, int]
    w_shape: tuple[int, int, int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    @cached_property
    def output_size(self) -> tuple[int, int]:
        """(oh, ow)."""
        down, across = (
            (size + 2 * p - d * (k - 1) - 1) // s + 1
            for size, k, s, p, d in zip(
                self.x_shape[2:], self.w_shape[2:], self.stride, self.padding, self.dilation, strict=True))
        return down, across

    @cached_property
    def output_shape(self) -> tuple[int, int, int, int]:
        """(n, c_out, oh, ow)."""
        return (self.x_shape[0], self.w_shape[0], *self.output_size)

    @property
    def products(self) -> int:
        """Products summed per output: c_in / groups * kh * kw."""
        return int(np.prod(self.w_shape[1:]))


def check_channels(count: int, **arrays: np.ndarray | None) -> None:
    """ValueError unless each array is None or of shape (count,): one number per channel."""
    for name, a in arrays.items():
        if a is not None and a.shape != (count,):
            raise ValueError(f"{name} must be ({count},)")


def pair(value: object, what: str) -> tuple[int, int]:
    """Return (v, v) for a whole number v or (v,), as torch does, and a pair as it is; UsageError for anything else."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    try:
        down, across = map(operator.index, values * 2 if len(values) == 1 else values)
    except (TypeError, ValueError):
        raise UsageError(f"{what} {value!r} must be a whole number or a pair of them") from None
    return down, across


def _at_least(least: int, value: object, what: str) -> tuple[int, int]:
    down, across = pair(value, what)
    if min(down, across) < least:
        raise UsageError(f"{what} {value!r} must be at least {least}")
    return down, across


def conv_geometry(x_shape: Sequence[int], w_shape: Sequence[int], stride: int | Sequence[int] = 1,
                  padding: int | Sequence[int] = 0, dilation: int | Sequence[int] = 1, groups: int = 1) -> ConvGeometry:
    """Work out the geometry of a convolution; UsageError names the shapes that do not fit together."""
    if len(x_shape) != 4 or len(w_shape) != 4 or min(w_shape) < 1:
        raise UsageError(f"conv2d: input {x_shape} and weight {w_shape} must have four axes, the weight none of size 0")
    groups = _at_least(1, groups, "conv2d: groups")[0]
    stride, padding = _at_least(1, stride, "conv2d: stride"), _at_least(0, padding, "conv2d: padding")
    dilation = _at_least(1, dilation, "conv2d: dilation")
    n, c_in, h, w = x_shape
    c_out, c_in_group, kh, kw = w_shape
    geometry = ConvGeometry((n, c_in, h, w), (c_out, c_in_group, kh, kw), stride, padding, dilation, groups)
    if x_shape[1] != w_shape[1] * groups or w_shape[0] % groups:
        raise UsageError(f"conv2d: input {x_shape} does not fit weight {w_shape} in {groups} groups")
    if min(geometry.output_size) < 1:
        raise UsageError(f"conv2d: input {x_shape} is smaller than weight {w_shape} with padding {geometry.padding}")
    return geometry
