"""Max pooling without indices, as evaluation needs it: first over the rows of a window, then over its columns.

A buffer holds one row per row of outputs: the maximum over the window's rows of the image, padded with minus infinity.
An output is the maximum of neighbours in that row.
"""
from functools import lru_cache
from typing import NamedTuple

import numba
import numpy as np
from numba.core import cgutils
from numba.types import int64, uintp, void

from tinyq.kernels.geometry.conv_geometry import Pair, pair
from tinyq.kernels.geometry.packed_input import fill
from tinyq.kernels.geometry.pooling_windows import sliding_size
from tinyq.kernels.geometry.spans import contiguous, items_per_task
from tinyq.kernels.jit.compile import njit, part, prange
from tinyq.kernels.jit.intrinsics import emits
from tinyq.kernels.pooling.maxima import MINUS_INFINITY, beats
from tinyq.kernels.simd.llvm import I64, load, pointer, splat, store
from tinyq.kernels.simd.memory_ops import copy_floats, load_float, store_float
from tinyq.kernels.simd.vectors import LANES, SINGLES, evens


class _Shape(NamedTuple):
    """Sizes of a plane and its windows, for compiled code."""

    height: int
    width: int
    taps_y: int
    taps_x: int
    stride_y: int
    stride_x: int
    top: int                    # padding
    left: int
    dilation_y: int
    dilation_x: int
    rows: int                   # of outputs
    columns: int
    row_stride: int             # elements from one row of the buffer to the next
    buffer: int                 # elements of the buffer, and of the space for a plane of results
    results: int


def max_pool2d_values(x: np.ndarray, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair = 1,
                      ceil_mode: bool = False) -> np.ndarray:
    """Maximum of each window: x (n, c, h, w), the result (n, c, oh, ow), float32.

    Settings are numbers or pairs. Of equal elements in a column the upper wins, of equal columns the left one; a NaN
    wins over numbers. UsageError for a window that does not fit.
    """
    shape = _shape(x.shape[2:], kernel, stride, padding, dilation, ceil_mode)
    y = np.empty((*x.shape[:2], shape.rows, shape.columns), np.float32)
    buffers = np.empty((numba.get_num_threads(), shape.buffer + shape.results + shape.height * shape.width + LANES),
                       np.float32)
    planes = x.shape[0] * x.shape[1]
    if planes:
        _maxima(contiguous(x).reshape(planes, *x.shape[2:]), shape, buffers, y.reshape(-1),
                items_per_task(shape.height * shape.width))
    return y


@lru_cache(maxsize=256)
def _shape(size, kernel, stride, padding, dilation, ceil_mode):
    rows, columns = sliding_size(size, kernel, stride, padding, dilation, ceil_mode)
    (kh, kw), (sy, sx), (py, px), (dy, dx) = (pair(v, "pooling") for v in (kernel, stride, padding, dilation))
    row_stride = max(px + size[1], (columns - 1) * sx + (kw - 1) * dx + 1)
    behind = 2 * LANES * sx + kw * dx                   # what whole vectors read and write beyond the last row
    elements = rows * row_stride + px + behind
    return _Shape(*map(int, (*size, kh, kw, sy, sx, py, px, dy, dx, rows, columns, row_stride, elements,
                             rows * columns + LANES)))


@njit(parallel=True)
def _maxima(x, shape, buffers, y, grain):
    for task in prange(-(-x.shape[0] // grain)):
        _some_planes(x, shape, buffers[numba.get_thread_id()], y, task * grain, min((task + 1) * grain, x.shape[0]))


@part
def _some_planes(x, shape, buffers, y, first, last):
    size, outputs = shape.height * shape.width, shape.rows * shape.columns
    image, values = x.ctypes.data, y.ctypes.data
    buffer = buffers.ctypes.data
    results, copied = buffer + shape.buffer * 4, buffer + (shape.buffer + shape.results) * 4
    for i in range(first, last):
        source, target = image + i * size * 4, values + i * outputs * 4
        if (i + 1) * size + LANES > x.size:             # whole vectors would be read behind the last plane
            copy_floats(source, copied, size)
            source = copied
        # Whole vectors are written: over the planes that follow, as long as these are this task's own.
        own = (i + 1) * outputs + LANES <= last * outputs
        _plane(source, shape, buffer, target if own else results)
        if not own:
            copy_floats(results, target, outputs)


@part
def _plane(source, shape, buffer, target):
    fill(buffer, np.int64(0), shape.left, MINUS_INFINITY)
    for row in range(shape.rows):
        top = row * shape.stride_y - shape.top
        begin = max(0, -(top // shape.dilation_y))                       # the first tap inside the image
        end = min(shape.taps_y, (shape.height - 1 - top) // shape.dilation_y + 1)
        into = buffer + (row * shape.row_stride + shape.left) * 4
        max_of_taps(source + (top + begin * shape.dilation_y) * shape.width * 4, shape.dilation_y * shape.width,
                end - begin, into, shape.width)
        fill(into, shape.width, shape.row_stride, MINUS_INFINITY)
    for row in range(shape.rows):
        line, into = buffer + row * shape.row_stride * 4, target + row * shape.columns * 4
        if shape.stride_x == 1:
            max_of_taps(line, shape.dilation_x, shape.taps_x, into, shape.columns)
        elif shape.stride_x == 2:
            max_of_every_second(line, shape.dilation_x, shape.taps_x, into, shape.columns)
        else:
            _max_one_by_one(line, shape, into)


@part
def _max_one_by_one(line, shape, into):
    for o in range(shape.columns):
        best = MINUS_INFINITY
        for tap in range(shape.taps_x):
            value = load_float(line, o * shape.stride_x + tap * shape.dilation_x)
            best = value if value > best or value != value else best
        store_float(into, o, best)


def _make_max(stride):
    @emits(void(uintp, int64, int64, uintp, int64))
    def max_of_taps(builder, source, step, many, target, count):
        """target[j] = the largest of source[stride * j + i * step], i < many, for j < count; addresses, whole vectors.

        The first of equal elements wins; a NaN wins over numbers, the last of several.
        """
        source, target = pointer(builder, source), pointer(builder, target)
        best = cgutils.alloca_once(builder, SINGLES)
        with cgutils.for_range_slice(builder, I64(0), count, I64(LANES)) as (at, _):
            builder.store(splat(SINGLES, float("-inf")), best)
            with cgutils.for_range(builder, many) as tap:
                first = builder.add(builder.mul(at, I64(stride)), builder.mul(tap.index, step))
                _take_larger(builder, _every(builder, source, first, stride), best)
            store(builder, builder.load(best), target, at)

    return max_of_taps


def _every(builder, source, first, stride):
    """LANES elements, `stride` (1 or 2) apart."""
    low = load(builder, source, first, SINGLES)
    if stride == 1:
        return low
    return evens(builder, low, load(builder, source, builder.add(first, I64(LANES)), SINGLES))


def _take_larger(builder, value, best):
    so_far = builder.load(best)
    builder.store(builder.select(beats(builder, value, so_far), value, so_far), best)


max_of_taps, max_of_every_second = _make_max(1), _make_max(2)
