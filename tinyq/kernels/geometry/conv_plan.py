"""Every pass of a convolution as one thing: each output a sum over taps of a weight and a shifted source pixel.

A tap is (channel, dy, dx): it reads source[channel, Y * sy + dy, X * sx + dx], zero outside the image. The plan lays
one sample out so that every tap reads consecutive memory: the zero-padded image is split into its sy * sx stride
phases, and the outputs are walked along the padded width ("virtual pixels": q = Y * width + X, of which those with
X >= outputs a row are dropped). Then tap k of virtual pixel q is at offsets[k] + q, for any stride and dilation,
and no im2col matrix exists.
"""
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from tinyq.kernels.contract import KC
from tinyq.kernels.geometry.conv_geometry import ConvGeometry


class Layout(NamedTuple):
    """What compiled code needs of a plan; numbers are cheaper to hand over, and to compile, than small arrays."""

    step_y: int
    step_x: int
    origin_y: int
    origin_x: int
    height: int                 # of the plane as laid out
    width: int
    rows: int                   # of outputs
    columns: int
    first_y: int
    first_x: int
    spread_y: int
    spread_x: int
    source_channels: int
    source_height: int
    source_width: int
    shared: int                 # of the padding left of a row, what every phase has
    direct: bool                # the source has this layout already
    phases: np.ndarray          # int64, as are the following
    channels: np.ndarray        # of each tap
    offsets: np.ndarray
    block_starts: np.ndarray


@dataclass(frozen=True, eq=False)
class Plan:
    """How one group of one sample is read and where its outputs go."""

    source_size: tuple[int, int]            # of the image read
    channels: int                           # of the image read, in one group
    step: tuple[int, int]                   # (sy, sx)
    rows: int                               # outputs: (rows, columns), placed at first + index * spread
    columns: int
    first: tuple[int, int]
    spread: tuple[int, int]
    taps: np.ndarray                        # (k, 3) int64: channel, dy, dx, in the contract's order
    weight_index: np.ndarray                # (k,) which of the full sum's products tap k is, ascending

    @cached_property
    def origin(self) -> tuple[int, int]:
        """The least dy and dx: what the first laid-out row and column hold."""
        return tuple(int(v) for v in self.taps[:, 1:].min(0))

    @cached_property
    def _reach(self):
        return self.taps[:, 1:] - self.origin

    @cached_property
    def phases(self) -> np.ndarray:
        """(p, 2) int64: the stride phases that a tap reads."""
        return np.unique(self._reach % self.step, axis=0)

    @cached_property
    def plane(self) -> tuple[int, int]:
        """Rows and columns of one phase of one channel as laid out; a row's right padding is the next one's left."""
        below, beside = (int(e) for e in (self._reach // self.step).max(0))
        return self.rows + below, self.columns + beside - min(beside, self._padding(self.columns + beside))

    def _padding(self, width) -> int:
        """Zeros that every row of `width` has on both sides, whatever its phase."""
        start, step = self.origin[1] + self.phases[:, 1], self.step[1]
        left = -(start // step)
        right = width - 1 - (self.source_size[1] - 1 - start) // step
        return max(0, min(int(left.min()), int(right.min())))

    @property
    def _left(self):
        reach = int(self.origin[1] + self.phases[:, 1].max())
        return min(max(0, -(reach // self.step[1])), self.plane[1])

    @cached_property
    def offsets(self) -> np.ndarray:
        """(k,) int64: where tap k of virtual pixel 0 is laid out."""
        rank = np.searchsorted(_number(self.phases, self.step), _number(self._reach % self.step, self.step))
        down, across = (self._reach // self.step).T
        height, width = self.plane
        return ((rank * self.channels + self.taps[:, 0]) * height + down) * width + across

    @cached_property
    def block_starts(self) -> np.ndarray:
        """(blocks + 1,) int64: where the contract's blocks of the full sum begin among the taps executed."""
        block = self.weight_index // KC
        return np.append(np.flatnonzero(np.diff(block, prepend=-1)), len(block))

    @cached_property
    def size(self) -> int:
        """Elements of the laid-out sample: all planes, and what the taps read of the last row's right padding."""
        planes = len(self.phases) * self.channels * self.plane[0] * self.plane[1]
        return max(planes, int(self.offsets.max()) + self.virtual_pixels)

    @cached_property
    def virtual_pixels(self) -> int:
        """One past the last virtual pixel that is an output."""
        return (self.rows - 1) * self.plane[1] + self.columns

    @cached_property
    def virtual(self) -> np.ndarray:
        """(outputs,) int64: the virtual pixel of each output, row by row."""
        return (np.arange(self.rows)[:, None] * self.plane[1] + np.arange(self.columns)).ravel()

    @cached_property
    def layout(self) -> Layout:
        """The same for compiled code."""
        return Layout(*self.step, *self.origin, *self.plane, self.rows, self.columns, *self.first, *self.spread,
                      self.channels, *self.source_size, self._left, self.is_source, self.phases,
                      self.taps[:, 0].copy(), self.offsets, self.block_starts)

    @property
    def fills_target(self) -> bool:
        """Whether its outputs are all places of a plane, in order."""
        return self.first == (0, 0) and self.spread == (1, 1)

    @cached_property
    def is_source(self) -> bool:
        """Whether the source itself already has this layout."""
        return self.plane == self.source_size and self.origin == (0, 0) and len(self.phases) == 1


def _number(phases, step):
    """Phases (p, 2) numbered row by row."""
    return phases[:, 0] * step[1] + phases[:, 1]


def index_grid(*sizes):
    """All index combinations, the last fastest: (product, len(sizes)) int64."""
    return np.stack(np.meshgrid(*map(np.arange, sizes), indexing="ij"), -1).reshape(-1, len(sizes))


@lru_cache(maxsize=256)
def forward_plan(geometry: ConvGeometry) -> Plan:
    """x to y: k is (c, kh, kw)."""
    _, c, kh, kw = geometry.w_shape
    grid = index_grid(c, kh, kw)
    taps = grid * (1, *geometry.dilation) - (0, *geometry.padding)
    return Plan(geometry.x_shape[2:], c, geometry.stride, *geometry.output_size, (0, 0), (1, 1), taps,
                np.arange(len(taps)))


@lru_cache(maxsize=256)
def input_grad_plans(geometry: ConvGeometry) -> tuple[Plan, ...]:
    """The gradient at y to that at x: k is (c_out, kh, kw); a plan for each phase of the stride that any tap reaches.

    Tap (kh, kw) of input row i reads output row (i + padding - kh * dilation) / stride where that is whole.
    """
    c_out, (_, _, kh, kw) = geometry.w_shape[0] // geometry.groups, geometry.w_shape
    grid = index_grid(c_out, kh, kw)
    stride = np.array(geometry.stride)
    plans = []
    for phase in index_grid(*geometry.stride):
        shift = phase + geometry.padding - grid[:, 1:] * geometry.dilation
        used = np.flatnonzero((shift % stride == 0).all(1))
        rows, columns = (-(-(size - p) // s) for size, p, s in zip(geometry.x_shape[2:], phase, stride, strict=True))
        if len(used) and rows > 0 and columns > 0:
            taps = np.column_stack([grid[used, 0], shift[used] // stride])
            plans.append(Plan(geometry.output_size, c_out, (1, 1), int(rows), int(columns), tuple(map(int, phase)),
                              geometry.stride, taps, used))
    return tuple(plans)
