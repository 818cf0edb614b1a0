"""The weight gradient of a convolution: register tiles of taps x channels, summed over the pixels of a chunk."""
import numba
import numpy as np

from tinyq.kernels.contract import KC, samples_per_chunk
from tinyq.kernels.gemm.correlate import parts_of
from tinyq.kernels.gemm.weight_grad_few import weight_grad_few
from tinyq.kernels.geometry.conv_plan import forward_plan
from tinyq.kernels.geometry.packed_input import ZERO, channels_last, lay_out
from tinyq.kernels.geometry.spans import contiguous
from tinyq.kernels.jit.compile import njit, part, prange
from tinyq.kernels.simd.register_tile import FLUSH, RESUME, any_gathering_tile
from tinyq.kernels.simd.vectors import LANES, MR, NR

_FEW = 4096                     # pixels of all samples: a tile of channels stays in the second-level cache
_LAID_OUT = 1 << 19             # elements of the samples that are laid out together: they stay in the cache


def conv2d_weight_grad(g, x, geometry):
    """The gradient at w (c_out, c_in / groups, kh, kw) from g, the one at y (n, c_out, oh, ow), and x; float32.

    k runs over (n, oh, ow) within a chunk of samples in blocks of KC; chunks are added in ascending order.
    """
    assert x.shape == geometry.x_shape and g.shape == geometry.output_shape, (x.shape, g.shape, geometry)
    if not len(g):
        return np.zeros(geometry.w_shape, np.float32)
    plan = forward_plan(geometry)
    n, groups, k = g.shape[0], geometry.groups, geometry.products
    c_out = geometry.w_shape[0] // groups
    columns = LANES if c_out <= LANES else NR
    chunk, pixels = samples_per_chunk(n), plan.rows * plan.columns
    x, flat, joined = contiguous(x), contiguous(g).reshape(n, -1, pixels), np.empty(geometry.w_shape, np.float32)
    if n * pixels <= _FEW:
        weight_grad_few(flat, x, chunk, columns, plan, joined.reshape(groups, c_out, k))
        return joined
    chunks, tap_tiles, channel_tiles = -(-n // chunk), -(-k // MR), -(-c_out // columns)
    sums = np.empty((chunks, groups, tap_tiles, channel_tiles, MR, columns), np.float32)
    taps = np.zeros(tap_tiles * MR, np.int64)
    taps[:k] = plan.offsets
    threads = numba.get_num_threads()
    parts = 1 if chunks * groups % threads == 0 else parts_of(chunks * groups, tap_tiles, threads)
    together = max(1, min(chunk, _LAID_OUT // plan.size))
    pitch = int(np.prod(geometry.x_shape[1:])) if plan.is_source else plan.size
    where = (np.arange(together)[:, None] * pitch + plan.virtual).ravel()
    samples = np.empty((threads, 0 if plan.is_source else together, plan.size), np.float32)
    gradients = np.empty((threads, channel_tiles, together * pixels, columns), np.float32)
    carries = np.empty((threads, *sums.shape[2:]), np.float32)
    _tasks(x, flat, chunk, together, parts, plan.layout, taps, where, samples, gradients, carries, sums)
    _join(sums, joined.reshape(groups, c_out, k))
    return joined


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
def _tasks(x, g, chunk, together, parts, layout, taps, where, samples, gradients, carries, sums):
    groups = sums.shape[1]
    for task in prange(sums.shape[0] * groups * parts):
        thread = numba.get_thread_id()
        index, group, part = task // parts // groups, task // parts % groups, task % parts
        channels, c_out = x.shape[1] // groups, g.shape[1] // groups
        begin, end = index * chunk, min((index + 1) * chunk, x.shape[0])
        _task(x[begin:end, group * channels:(group + 1) * channels], g[begin:end, group * c_out:(group + 1) * c_out],
              together, part, parts, layout, taps, where, samples[thread], gradients[thread], carries[thread],
              sums[index, group])


@part
def _task(x, g, together, part, parts, layout, taps, where, samples, gradient, carry, sums):
    """Tap tiles `part` of `parts`, summed over the samples of one chunk, so many of which are laid out together."""
    first, last = sums.shape[0] * part // parts, sums.shape[0] * (part + 1) // parts
    if first == last:
        return
    channel = layout.channels[first * MR]
    last_channel = layout.channels[min(last * MR, layout.channels.size) - 1] + 1
    pixels = g.shape[2]
    sums[first:last] = 0
    for begin in range(0, x.shape[0], together):
        end = min(begin + together, x.shape[0])
        for i in range(begin, end):
            if not layout.direct:
                lay_out(x[i].ctypes.data, layout, channel, last_channel, np.int64(0), layout.height, ZERO,
                        samples[i - begin])
            channels_last(g[i], (i - begin) * pixels, gradient)
        base = x[begin].ctypes.data if layout.direct else samples.ctypes.data
        _add_samples(base, begin * pixels, end * pixels, x.shape[0] * pixels, where, taps, gradient, first, last, carry,
                     sums)


@part
def _add_samples(base, begin, end, total, where, taps, gradient, first, last, carry, sums):
    """Add the pixels begin ... end - 1 of the chunk's total: those laid out at where[0], where[1], ..."""
    columns = sums.shape[3]
    tile, row = MR * columns * 4, columns * 4                      # bytes
    tap, pixel, rows = taps.ctypes.data, where.ctypes.data, gradient.ctypes.data
    carried, added = carry.ctypes.data, sums.ctypes.data
    p = begin
    while p < end:
        stop = min((p // KC + 1) * KC, end)
        flags = (RESUME if p % KC else 0) | (FLUSH if stop % KC == 0 or stop == total else 0)
        for c in range(sums.shape[1]):                               # its gradients stay in the first-level cache
            for t in range(first, last):
                at = (t * sums.shape[1] + c) * tile
                any_gathering_tile(columns, stop - p, base, tap + t * MR * 8, columns,
                                   rows + (c * gradient.shape[1] + p - begin) * row, pixel + (p - begin) * 8,
                                   carried + at, added + at, flags)
        p = stop
