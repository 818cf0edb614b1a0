"""The weight gradient of a convolution: register tiles of taps x channels, summed over the pixels of a chunk."""
import numba
import numpy as np

from tinyq.kernels.compile import njit, prange
from tinyq.kernels.contract import PRODUCT_BLOCK, samples_per_chunk
from tinyq.kernels.correlate import parts_of
from tinyq.kernels.layout import channels_last, lay_out
from tinyq.kernels.micro import COLUMNS, FLUSH, LANES, RESUME, ROWS, any_tile
from tinyq.kernels.plan import forward_plan
from tinyq.kernels.spans import contiguous


def conv2d_weight_grad(g, x, geometry):
    """The gradient at w (c_out, c_in / groups, kh, kw) from g, the one at y (n, c_out, oh, ow), and x; float32.

    k runs over (n, oh, ow) within a chunk of samples in blocks of PRODUCT_BLOCK; chunks are added in ascending order.
    """
    assert x.shape == geometry.x_shape and g.shape == geometry.output_shape, (x.shape, g.shape, geometry)
    if not len(g):
        return np.zeros(geometry.w_shape, np.float32)
    plan = forward_plan(geometry)
    n, groups, k = g.shape[0], geometry.groups, geometry.products
    c_out = geometry.w_shape[0] // groups
    columns = LANES if c_out <= LANES else COLUMNS
    chunk = samples_per_chunk(n)
    chunks, tap_tiles, channel_tiles = -(-n // chunk), -(-k // ROWS), -(-c_out // columns)
    sums = np.zeros((chunks, groups, tap_tiles, channel_tiles, ROWS, columns), np.float32)
    taps = np.zeros(tap_tiles * ROWS, np.int64)
    taps[:k] = plan.offsets
    threads = numba.get_num_threads()
    parts = parts_of(chunks * groups, tap_tiles, threads)
    pixels = plan.rows * plan.plane[1]
    # What the padding is made of stays zero: between the rows of a sample and beyond its last channel.
    samples = np.zeros((threads, 0 if plan.is_source else plan.size), np.float32)
    gradients = np.zeros((threads, channel_tiles, pixels, columns), np.float32)
    carries = np.empty((threads, *sums.shape[2:]), np.float32)
    flat = contiguous(g).reshape(n, -1, len(plan.virtual))
    _tasks(contiguous(x), flat, chunk, parts, plan.layout, taps,
           np.arange(pixels) * columns, samples, gradients, carries, sums)
    return _join(sums, k, c_out).reshape(geometry.w_shape)


def _join(sums, k, c_out):
    """The chunks' sums added in ascending order, as (groups, c_out, k)."""
    total = sums[0]
    for chunk in sums[1:]:
        total += chunk
    groups, tap_tiles, channel_tiles, rows, columns = total.shape
    whole = total.transpose(0, 2, 4, 1, 3).reshape(groups, channel_tiles * columns, tap_tiles * rows)
    return np.ascontiguousarray(whole[:, :c_out, :k])


@njit(parallel=True)
def _tasks(x, g, chunk, parts, layout, taps, pixel_offsets, samples, gradients, carries, sums):
    groups = sums.shape[1]
    for task in prange(sums.shape[0] * groups * parts):
        thread = numba.get_thread_id()
        index, group, part = task // parts // groups, task // parts % groups, task % parts
        channels, c_out = x.shape[1] // groups, g.shape[1] // groups
        begin, end = index * chunk, min((index + 1) * chunk, x.shape[0])
        _task(x[begin:end, group * channels:(group + 1) * channels], g[begin:end, group * c_out:(group + 1) * c_out],
              part, parts, layout, taps, pixel_offsets, samples[thread], gradients[thread], carries[thread],
              sums[index, group])


@njit
def _task(x, g, part, parts, layout, taps, pixel_offsets, sample, gradient, carry, sums):
    """Tap tiles `part` of `parts`, summed over the samples of one chunk."""
    first, last = sums.shape[0] * part // parts, sums.shape[0] * (part + 1) // parts
    if first == last:
        return
    channels = (layout.channels[first * ROWS], layout.channels[min(last * ROWS, layout.channels.size) - 1] + 1)
    pixels = layout.virtual.size
    for i in range(x.shape[0]):
        if layout.direct:
            base = x[i].ctypes.data
        else:
            lay_out(x[i], layout, channels, (0, layout.plane[0]), sample)
            base = sample.ctypes.data
        channels_last(g[i], layout.virtual, gradient)
        _add_sample(base, i * pixels, x.shape[0] * pixels, layout.virtual, taps, pixel_offsets, gradient, first, last,
                    carry, sums)


@njit
def _add_sample(base, before, total, virtual, taps, pixel_offsets, gradient, first, last, carry, sums):
    """Add one sample's pixels, which are numbers before <= p < before + virtual.size of the chunk's total."""
    columns = sums.shape[3]
    tile = ROWS * columns * 4                                        # bytes
    tap, pixel, rows = taps.ctypes.data, pixel_offsets.ctypes.data, gradient.ctypes.data
    carried, added = carry.ctypes.data, sums.ctypes.data
    p = before
    while p < before + virtual.size:
        stop = min((p // PRODUCT_BLOCK + 1) * PRODUCT_BLOCK, before + virtual.size)
        flags = (RESUME if p % PRODUCT_BLOCK else 0) | (FLUSH if stop % PRODUCT_BLOCK == 0 or stop == total else 0)
        start = virtual[p - before]
        count = virtual[stop - 1 - before] + 1 - start
        for t in range(first, last):
            for c in range(sums.shape[1]):
                at = (t * sums.shape[1] + c) * tile
                any_tile(columns, count, base + start * 4, tap + t * ROWS * 8, 1,
                         rows + (c * gradient.shape[1] + start) * columns * 4, pixel, carried + at, added + at, flags)
        p = stop
