"""Plan a pass of a convolution: each output is a sum over taps of a weight times a shifted source pixel.

A tap is (channel, dy, dx): it reads source[channel, Y * sy + dy, X * sx + dx], zero outside the image. The packed input
of a sample makes every tap read consecutive memory: the zero-padded image is split into its sy * sx stride phases.

A virtual pixel is a place in one plane of the packed input, q = Y * width + X with the padded width. The outputs are
walked along it; virtual pixels with X beyond the outputs of a row are computed and dropped. Tap k of virtual pixel q is
at offsets[k] + q, for any stride and dilation, and no im2col matrix exists.
"""
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from tinyq.kernels.contract import KC
from tinyq.kernels.geometry.conv_geometry import ConvGeometry


class Layout(NamedTuple):
    """A plan for compiled code; numbers are cheaper to pass, and to compile, than small arrays."""

    step_y: int
    step_x: int
    origin_y: int
    origin_x: int
    height: int                 # of a plane of the packed input
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
    shared: int                 # padding left of a row that all phases have
    direct: bool                # the source itself serves as packed input
    phases: np.ndarray          # int64, as are the following
    channels: np.ndarray        # of each tap
    offsets: np.ndarray
    block_starts: np.ndarray


@dataclass(frozen=True, eq=False)
class Plan:
    """Source and destination of one group of one sample."""

    source_size: tuple[int, int]            # of the image read
    channels: int                           # of the image read, in one group
    step: tuple[int, int]                   # (sy, sx)
    rows: int                               # outputs: (rows, columns), placed at first + index * spread
    columns: int
    first: tuple[int, int]
    spread: tuple[int, int]
    taps: np.ndarray                        # (k, 3) int64: channel, dy, dx, in the contract's order
    weight_index: np.ndarray                # (k,) index of tap k among the products of the full sum, ascending

    @cached_property
    def origin(self) -> tuple[int, int]:
        """The least dy and dx, which the first row and column of the packed input hold."""
        dy, dx = self.taps[:, 1:].min(0).tolist()
        return dy, dx

    @cached_property
    def _reach(self) -> np.ndarray:
        return self.taps[:, 1:] - self.origin

    @cached_property
    def phases(self) -> np.ndarray:
        """(p, 2) int64: the stride phases that a tap reads."""
        return np.unique(self._reach % self.step, axis=0)

    @cached_property
    def plane(self) -> tuple[int, int]:
        """(height, width) of a plane of the packed input; the right padding of a row is the left one of the next."""
        below, beside = (int(e) for e in (self._reach // self.step).max(0))
        return self.rows + below, self.columns + beside - min(beside, self._padding(self.columns + beside))

    def _padding(self, width: int) -> int:
        """Zeros that every row of `width` has on both sides, whatever its phase."""
        start, step = self.origin[1] + self.phases[:, 1], self.step[1]
        left = -(start // step)
        right = width - 1 - (self.source_size[1] - 1 - start) // step
        return max(0, min(int(left.min()), int(right.min())))

    @property
    def _left(self) -> int:
        reach = int(self.origin[1] + self.phases[:, 1].max())
        return min(max(0, -(reach // self.step[1])), self.plane[1])

    @cached_property
    def offsets(self) -> np.ndarray:
        """(k,) int64: place of tap k of virtual pixel 0 in the packed input."""
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
        """Elements of the packed input: all planes, and the right padding of the last row as far as taps read it."""
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
        """The plan as a Layout, for compiled code."""
        return Layout(
            step_y=self.step[0], step_x=self.step[1], origin_y=self.origin[0], origin_x=self.origin[1],
            height=self.plane[0], width=self.plane[1], rows=self.rows, columns=self.columns,
            first_y=self.first[0], first_x=self.first[1], spread_y=self.spread[0], spread_x=self.spread[1],
            source_channels=self.channels, source_height=self.source_size[0], source_width=self.source_size[1],
            shared=self._left, direct=self.is_source, phases=self.phases, channels=self.taps[:, 0].copy(),
            offsets=self.offsets, block_starts=self.block_starts)

    @property
    def fills_target(self) -> bool:
        """True if the outputs are all places of a plane, in order."""
        return self.first == (0, 0) and self.spread == (1, 1)

    @cached_property
    def is_source(self) -> bool:
        """True if the source itself serves as packed input."""
        return self.plane == self.source_size and self.origin == (0, 0) and len(self.phases) == 1


def _number(phases, step):
    """Phases (p, 2) numbered row by row."""
    return phases[:, 0] * step[1] + phases[:, 1]


def index_grid(*sizes: int) -> np.ndarray:
    """List all index combinations, the last index fastest: (product, len(sizes)) int64."""
    return np.stack(np.meshgrid(*map(np.arange, sizes), indexing="ij"), -1).reshape(-1, len(sizes))


@lru_cache(maxsize=256)
def forward_plan(geometry: ConvGeometry) -> Plan:
    """Plan y from x: k is (c, kh, kw)."""
    _, c, kh, kw = geometry.w_shape
    grid = index_grid(c, kh, kw)
    taps = grid * (1, *geometry.dilation) - (0, *geometry.padding)
    rows, columns = geometry.output_size
    return Plan(source_size=geometry.x_shape[2:], channels=c, step=geometry.stride, rows=rows, columns=columns,
                first=(0, 0), spread=(1, 1), taps=taps, weight_index=np.arange(len(taps)))


@lru_cache(maxsize=256)
def input_grad_plans(geometry: ConvGeometry) -> tuple[Plan, ...]:
    """Plan the gradient at x from the one at y: k is (c_out, kh, kw); one plan per stride phase that any tap reaches.

    Tap (kh, kw) of input row i reads output row (i + padding - kh * dilation) / stride where that is a whole number.
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
            plans.append(Plan(source_size=geometry.output_size, channels=c_out, step=(1, 1), rows=int(rows),
                              columns=int(columns), first=(int(phase[0]), int(phase[1])), spread=geometry.stride,
                              taps=taps, weight_index=used))
    return tuple(plans)
