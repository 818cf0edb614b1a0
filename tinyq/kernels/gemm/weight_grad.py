"""The weight gradient of a convolution: register tiles of taps x channels, summed over the pixels of a chunk."""
from typing import NamedTuple

import numba
import numpy as np

from tinyq.kernels.contract import KC, samples_per_chunk
from tinyq.kernels.gemm.weight_grad_few import Offsets, weight_grad_few
from tinyq.kernels.geometry.conv_geometry import ConvGeometry
from tinyq.kernels.geometry.conv_plan import Layout, Plan, forward_plan
from tinyq.kernels.geometry.packed_input import ZERO, channels_last, pack_input
from tinyq.kernels.geometry.spans import contiguous, count_parts
from tinyq.kernels.jit.compile import njit, part, prange
from tinyq.kernels.simd.register_tile import FLUSH, RESUME, any_gathering_tile
from tinyq.kernels.simd.vectors import LANES, MR, NR

_FEW = 4096                     # pixels of all samples: a tile of channels stays in the second-level cache
_RESIDENT = 1 << 19             # elements of the samples that are packed together: they stay in the cache


class _Workspace(NamedTuple):
    """Buffers of all threads, along a first axis, or of one thread."""

    samples: np.ndarray             # packed inputs of some samples
    gradients: np.ndarray           # their gradients, channels last: (channel tiles, pixels, columns)
    carries: np.ndarray             # sums of a block of k that is not complete yet


def conv2d_weight_grad(g: np.ndarray, x: np.ndarray, geometry: ConvGeometry) -> np.ndarray:
    """Return the gradient with respect to w (c_out, c_in / groups, kh, kw), float32.

    g: gradient with respect to y (n, c_out, oh, ow); x: the input of the convolution.

    k runs over (n, oh, ow) within a chunk of samples in blocks of KC; chunks are added in ascending order.
    """
    assert x.shape == geometry.x_shape and g.shape == geometry.output_shape, (x.shape, g.shape, geometry)
    if not len(g):
        return np.zeros(geometry.w_shape, np.float32)
    plan = forward_plan(geometry)
    n, groups, pixels = g.shape[0], geometry.groups, plan.rows * plan.columns
    c_out = geometry.w_shape[0] // groups
    columns = LANES if c_out <= LANES else NR
    x, flat, joined = contiguous(x), contiguous(g).reshape(n, -1, pixels), np.empty(geometry.w_shape, np.float32)
    target = joined.reshape(groups, c_out, geometry.products)
    if n * pixels <= _FEW:
        weight_grad_few(flat, x, samples_per_chunk(n), columns, plan, target)
    else:
        _weight_grad_many(flat, x, samples_per_chunk(n), columns, plan, target)
    return joined


def _weight_grad_many(g: np.ndarray, x: np.ndarray, chunk: int, columns: int, plan: Plan, target: np.ndarray) -> None:
    """Compute target (groups, c_out, taps) from g (n, groups * c_out, pixels) and x, `chunk` samples per chunk."""
    n, pixels = g.shape[0], g.shape[2]
    groups, c_out, k = target.shape
    threads = numba.get_num_threads()
    chunks, tap_tiles, channel_tiles = -(-n // chunk), -(-k // MR), -(-c_out // columns)
    sums = np.empty((chunks, groups, tap_tiles, channel_tiles, MR, columns), np.float32)
    parts = 1 if chunks * groups % threads == 0 else count_parts(chunks * groups, tap_tiles, threads)
    together = max(1, min(chunk, _RESIDENT // plan.size))
    sample_stride = int(np.prod(x.shape[1:])) if plan.is_source else plan.size
    taps = np.zeros(tap_tiles * MR, np.int64)
    taps[:k] = plan.offsets
    offsets = Offsets(taps, (np.arange(together)[:, None] * sample_stride + plan.virtual).ravel())
    workspace = _Workspace(
        samples=np.empty((threads, 0 if plan.is_source else together, plan.size), np.float32),
        gradients=np.empty((threads, channel_tiles, together * pixels, columns), np.float32),
        carries=np.empty((threads, *sums.shape[2:]), np.float32))
    _tasks(x, g, (chunk, together, parts), tuple(plan.layout), tuple(offsets), tuple(workspace), sums)
    _join(sums, target)


@njit(parallel=True)
def _join(sums, target):
    """target (groups, c_out, k) = the chunks' sums added in ascending order."""
    tap_tiles = sums.shape[2]
    for task in prange(sums.shape[1] * tap_tiles):
        group, t = task // tap_tiles, task % tap_tiles
        first = t * MR
        for c in range(target.shape[1]):
            for r in range(min(MR, target.shape[2] - first)):
                total = sums[0, group, t, c // sums.shape[5], r, c % sums.shape[5]]
                for chunk in range(1, sums.shape[0]):
                    total += sums[chunk, group, t, c // sums.shape[5], r, c % sums.shape[5]]
                target[group, c, first + r] = total


@njit(parallel=True)
def _tasks(x, g, split, layout_, offsets_, workspace_, sums):
    layout, offsets, workspace = Layout(*layout_), Offsets(*offsets_), _Workspace(*workspace_)
    chunk, together, parts = split
    groups, tap_tiles = sums.shape[1], sums.shape[2]
    channels, c_out = x.shape[1] // groups, g.shape[1] // groups
    for number in prange(sums.shape[0] * groups * parts):
        thread, task = numba.get_thread_id(), np.int64(number)
        index, group, part = task // parts // groups, task // parts % groups, task % parts
        first, last = tap_tiles * part // parts, tap_tiles * (part + 1) // parts
        begin, end = index * chunk, min((index + 1) * chunk, x.shape[0])
        own = _Workspace(workspace.samples[thread], workspace.gradients[thread], workspace.carries[thread])
        if first < last:
            _add_chunk(x[begin:end, group * channels:(group + 1) * channels],
                       g[begin:end, group * c_out:(group + 1) * c_out], together, layout, offsets, own, (first, last),
                       sums[index, group])


@part
def _add_chunk(x, g, together, layout, offsets, workspace, tap_tiles, sums):
    """Tap tiles first ... last - 1, summed over the samples of one chunk, of which `together` are packed at a time."""
    first, last = tap_tiles
    channel = layout.channels[first * MR]
    last_channel = layout.channels[min(last * MR, layout.channels.size) - 1] + 1
    pixels, samples, gradients = g.shape[2], workspace.samples, workspace.gradients
    sums[first:last] = 0
    for begin in range(0, x.shape[0], together):
        end = min(begin + together, x.shape[0])
        for i in range(begin, end):
            if not layout.direct:
                pack_input(x[i].ctypes.data, layout, channel, last_channel, np.int64(0), layout.height, ZERO,
                           samples[i - begin])
            channels_last(g[i], (i - begin) * pixels, gradients)
        base = x[begin].ctypes.data if layout.direct else samples.ctypes.data
        _add_samples(base, (begin * pixels, end * pixels, x.shape[0] * pixels), offsets, workspace, tap_tiles, sums)


@part
def _add_samples(base, run, offsets, workspace, tap_tiles, sums):
    """Add the pixels begin ... end - 1 of the chunk's total: those packed at offsets.pixels[0] and so on."""
    (begin, end, total), (first, last) = run, tap_tiles
    columns, gradient_rows = sums.shape[3], workspace.gradients.shape[1]
    tile, row = MR * columns * 4, columns * 4                        # bytes
    tap, pixel, rows = offsets.taps.ctypes.data, offsets.pixels.ctypes.data, workspace.gradients.ctypes.data
    carried, added = workspace.carries.ctypes.data, sums.ctypes.data
    p = begin
    while p < end:
        stop = min((p // KC + 1) * KC, end)
        flags = (RESUME if p % KC else 0) | (FLUSH if stop % KC == 0 or stop == total else 0)
        for c in range(sums.shape[1]):                               # its gradients stay in the first-level cache
            for t in range(first, last):
                at = (t * sums.shape[1] + c) * tile
                any_gathering_tile(columns, stop - p, base, tap + t * MR * 8, columns,
                                   rows + (c * gradient_rows + p - begin) * row, pixel + (p - begin) * 8,
                                   carried + at, added + at, flags)
        p = stop
