"""Max pooling of (n, c, h, w) arrays with indices, and its gradient, plane by plane (conv_plan.py)."""
from functools import lru_cache
from typing import NamedTuple

import numba
import numpy as np

from tinyq.kernels.geometry.conv_geometry import Pair, pair
from tinyq.kernels.geometry.conv_plan import Plan, index_grid
from tinyq.kernels.geometry.packed_input import copy_freely, pack_input
from tinyq.kernels.geometry.pooling_windows import sliding_windows
from tinyq.kernels.geometry.spans import over_items
from tinyq.kernels.jit.compile import njit, prange
from tinyq.kernels.pooling.maxima import MINUS_INFINITY, WINDOWS, window_maxima


class _Tables(NamedTuple):
    """Tables that depend on the size of a plane alone."""

    plan: Plan
    shifts: np.ndarray              # (taps,) int32: from a window's origin to each tap, in the image
    origins: np.ndarray             # int32 by virtual pixel: the window's first tap, were there no padding
    places: np.ndarray              # int32 by virtual pixel: its first tap inside the image


def max_pool2d(x: np.ndarray, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair = 1,
               ceil_mode: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Maximum of each window and its flat index in the plane: y float32 and indices int32, both (n, c, oh, ow).

    Settings are numbers or pairs; the first of equal elements wins. UsageError for a window that does not fit.
    """
    tables = _tables(x.shape[2:], kernel, stride, padding, dilation, ceil_mode)
    plan = tables.plan
    y = np.empty((*x.shape[:2], plan.rows, plan.columns), np.float32)
    indices, threads = np.empty(y.shape, np.int32), numba.get_num_threads()
    laid_out = np.empty((threads, plan.size + WINDOWS), np.float32)
    maxima, found = (np.empty((threads, plan.virtual_pixels + WINDOWS), kind) for kind in (np.float32, np.int32))
    _over_planes(_maxima, _maxima_parallel, _planes(x), plan.layout, *tables[1:], laid_out, maxima, found, _planes(y),
                 _planes(indices))
    return y, indices


def max_pool2d_grad(g: np.ndarray, indices: np.ndarray, x_shape: tuple[int, ...]) -> np.ndarray:
    """Gradient with respect to x (x_shape): every g, ascending by output, added where its maximum was."""
    assert g.shape == indices.shape and g.shape[:2] == tuple(x_shape[:2])
    gx = np.empty(x_shape, np.float32)
    _over_planes(_gradients, _gradients_parallel, _planes(gx), _planes(g), _planes(indices))
    return gx


@lru_cache(maxsize=256)
def _tables(size, kernel, stride, padding, dilation, ceil_mode):
    windows = sliding_windows(size, kernel, stride, padding, dilation, ceil_mode)
    kernel, stride, padding, dilation = (pair(value, "pooling") for value in (kernel, stride, padding, dilation))
    taps = index_grid(1, *kernel) * (1, *dilation) - (0, *padding)
    plan = Plan(tuple(size), 1, stride, *windows.output_size, (0, 0), (1, 1), taps, np.arange(len(taps)))
    row, column = np.divmod(np.arange(plan.virtual_pixels + WINDOWS), plan.plane[1])
    origins = row * stride[0] * size[1] + column * stride[1]
    places = np.zeros(origins.size, np.int32)
    places[plan.virtual] = windows.origins
    return _Tables(plan, (taps[:, 1] * size[1] + taps[:, 2]).astype(np.int32), origins.astype(np.int32), places)


def _planes(x):
    """Return (planes, h, w) in C order."""
    return np.require(x, requirements=("C", "A")).reshape(-1, *x.shape[2:])


def _over_planes(serial, parallel, x, *arguments):
    over_items(serial, parallel, len(x), x.shape[1] * x.shape[2], x, *arguments)


@njit(parallel=True)
def _maxima_parallel(x, layout, shifts, origins, places, laid_out, maxima, found, y, indices, planes, grain):
    for task in prange(-(-planes // grain)):
        _maxima(x, layout, shifts, origins, places, laid_out, maxima, found, y, indices,
                task * grain, min((task + 1) * grain, planes))


@njit
def _maxima(x, layout, shifts, origins, places, laid_out, maxima, found, y, indices, first, last):
    thread = numba.get_thread_id()
    rows, columns, width = layout.rows, layout.columns, layout.width
    # Addresses are taken outside the loops: each costs a counted reference to its array.
    plane, best, place = laid_out[thread].ctypes.data, maxima[thread].ctypes.data, found[thread].ctypes.data
    offsets, shift, origin, start = (
        layout.offsets.ctypes.data, shifts.ctypes.data, origins.ctypes.data, places.ctypes.data)
    held = maxima.shape[1] * 4
    image, values, numbers = x.ctypes.data, y.ctypes.data, indices.ctypes.data
    zero, one = np.int64(0), np.int64(1)                    # literals would be types of their own
    end = last * rows * columns * 4
    for i in range(first, last):
        at = image + i * layout.source_height * layout.source_width * 4
        pack_input(at, layout, zero, one, zero, layout.height, MINUS_INFINITY, laid_out[thread])
        for q in range(0, (rows - 1) * width + columns, WINDOWS):
            window_maxima(plane + q * 4, offsets, shift, shifts.size, origin + q * 4, start + q * 4,
                          best + q * 4, place + q * 4)
        runs, length = (1, rows * columns) if columns == width else (rows, columns)
        for r in range(runs):
            at, into = r * width * 4, (i * rows + r) * columns * 4
            copy_freely(best + at, values + into, length, best + held, values + end)
            copy_freely(place + at, numbers + into, length, place + held, numbers + end)


@njit(parallel=True)
def _gradients_parallel(gx, g, indices, planes, grain):
    for task in prange(-(-planes // grain)):
        _gradients(gx, g, indices, task * grain, min((task + 1) * grain, planes))


@njit
def _gradients(gx, g, indices, first, last):
    sums, places, incoming = gx.reshape(-1), indices.reshape(-1), g.reshape(-1)
    size, outputs = gx.shape[1] * gx.shape[2], g.shape[1] * g.shape[2]
    for plane in range(first, last):
        gx[plane] = 0
        for o in range(plane * outputs, (plane + 1) * outputs):
            sums[plane * size + places[o]] += incoming[o]
