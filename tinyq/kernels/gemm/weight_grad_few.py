"""The weight gradient where pixels are few and weights many: a task sums all samples for some taps before it stores.

The sums of weight_grad.py lie in memory, as many as there are weights, and every block of pixels reads and writes them.
Here all samples are packed first; a task's tiles stay in the first-level cache, with one block's gradients.
"""
from typing import NamedTuple

import numba
import numpy as np

from tinyq.kernels.contract import KC
from tinyq.kernels.geometry.conv_plan import Layout, Plan
from tinyq.kernels.geometry.packed_input import ZERO, channels_last, pack_input
from tinyq.kernels.jit.compile import njit, part, prange
from tinyq.kernels.simd.memory_ops import finish_run
from tinyq.kernels.simd.register_tile import FLUSH, any_gathering_tile
from tinyq.kernels.simd.vectors import MR

_TILES = 6                      # per task: these and a block of gradients fit the first-level cache


class Offsets(NamedTuple):
    """Offsets of a product's factors in the packed inputs: taps[k] + pixels[p], int64."""

    taps: np.ndarray                # whole tiles of MR; beyond the last tap 0
    pixels: np.ndarray


def weight_grad_few(g: np.ndarray, x: np.ndarray, chunk: int, columns: int, plan: Plan, target: np.ndarray) -> None:
    """Compute target (groups, c_out, taps) from g (n, groups * c_out, pixels) and x, `chunk` samples per chunk.

    columns: of a register tile.
    """
    groups, c_out, taps = target.shape
    n, pixels, threads = g.shape[0], g.shape[2], numba.get_num_threads()
    tap_tiles, channel_tiles = -(-taps // MR), -(-c_out // columns)
    tap_offsets = np.zeros(tap_tiles * MR, np.int64)
    tap_offsets[:taps] = plan.offsets
    sample_stride = x.shape[1] * x.shape[2] * x.shape[3] if plan.is_source else plan.size
    offsets = Offsets(tap_offsets, (np.arange(n)[:, None] * sample_stride + plan.virtual).ravel())
    samples = np.empty((groups, 0 if plan.is_source else n, plan.size), np.float32)
    gradients = np.empty((groups, channel_tiles, n * pixels, columns), np.float32)
    parts = -(-max(threads, -(-tap_tiles // _TILES)) // threads) * threads
    sums = np.empty((threads, 2, -(-tap_tiles // parts), MR, columns), np.float32)
    layout = tuple(plan.layout)
    _pack_all(x, g, layout, samples, gradients)
    _tasks(x, (chunk * pixels, parts, plan.layout.direct), tuple(offsets), samples, gradients, sums, target)


@njit(parallel=True)
def _pack_all(x, g, layout_, samples, gradients):
    layout, groups = Layout(*layout_), gradients.shape[0]
    for task in prange(x.shape[0] * groups):
        i, group = task // groups, task % groups
        channels, c_out = x.shape[1] // groups, g.shape[1] // groups
        if not layout.direct:
            source = x[i, group * channels:].ctypes.data
            pack_input(source, layout, np.int64(0), channels, np.int64(0), layout.height, ZERO, samples[group, i])
        channels_last(g[i, group * c_out:(group + 1) * c_out], i * g.shape[2], gradients[group])


@njit(parallel=True)
def _tasks(x, split, offsets_, samples, gradients, sums, target):
    offsets = Offsets(*offsets_)
    chunk, parts, direct = split
    groups, tiles = target.shape[0], offsets.taps.size // MR
    for task in prange(groups * parts):
        group, part = task // parts, task % parts
        channels = x.shape[1] // groups
        base = x[0, group * channels:].ctypes.data if direct else samples[group].ctypes.data
        _sum_taps(base, chunk, (tiles * part // parts, tiles * (part + 1) // parts), offsets, gradients[group],
                  sums[numba.get_thread_id()], target[group])


@part
def _sum_taps(base, chunk, tap_tiles, offsets, gradients, sums, target):
    """Tap tiles first ... last - 1, for all channels."""
    first, last = tap_tiles
    columns, total = gradients.shape[2], gradients.shape[1]
    for c in range(gradients.shape[0]):
        sums[1] = 0
        for begin in range(0, total, chunk):
            sums[0] = 0
            _add_chunk(base, (begin, min(begin + chunk, total)), tap_tiles, offsets, gradients[c], sums[0])
            finish_run(sums[1].ctypes.data, sums[0].ctypes.data, sums[0].size, False)
        for t in range(first, last):
            for j in range(min(columns, target.shape[0] - c * columns)):
                for r in range(min(MR, target.shape[1] - t * MR)):
                    target[c * columns + j, t * MR + r] = sums[1, t - first, r, j]


@part
def _add_chunk(base, pixels, tap_tiles, offsets, gradients, sums):
    """Add the pixels begin ... end - 1, a chunk's, block by block."""
    (begin, end), (first, last) = pixels, tap_tiles
    columns = gradients.shape[1]
    tap, pixel, rows, out = (offsets.taps.ctypes.data, offsets.pixels.ctypes.data, gradients.ctypes.data,
                             sums.ctypes.data)
    for start in range(begin, end, KC):
        count = min(KC, end - start)
        for t in range(first, last):
            total = out + (t - first) * MR * columns * 4
            any_gathering_tile(columns, count, base, tap + t * MR * 8, columns, rows + start * columns * 4,
                               pixel + start * 8, total, total, FLUSH)
