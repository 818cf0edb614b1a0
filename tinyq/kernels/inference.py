"""A product with weights that stay: packed once, its affine, an addition and a ReLU done where it is stored."""
import numba
import numpy as np

from tinyq.kernels.compile import njit, prange
from tinyq.kernels.contract import PRODUCT_BLOCK
from tinyq.kernels.correlate import correlate
from tinyq.kernels.micro import FLUSH, PANEL, tile
from tinyq.kernels.plan import forward_plan
from tinyq.kernels.spans import NO_IMAGES, contiguous
from tinyq.kernels.vectors import COLUMNS, ROWS
from tinyq.kernels.weights import pack_rows


def pack_weights(w, groups):
    """What conv2d_packed takes of the weights w (c_out, c_in / groups, kh, kw)."""
    taps = w[0].size
    block_starts = np.append(np.arange(0, taps, PRODUCT_BLOCK), taps)
    return pack_rows(w, groups, len(w) // groups, taps, np.arange(taps), block_starts)


def conv2d_packed(x, packed, geometry, scale, shift, added, relu):
    """scale * (x * w) + shift, `added` (of the output's shape, or None) added to it, and its ReLU if `relu`.

    scale and shift (c_out,). Each of the four steps rounds, as when they are done one after the other.
    """
    assert x.shape == geometry.x_shape, (x.shape, geometry)
    y, plan, m = np.empty(geometry.output_shape, np.float32), forward_plan(geometry), geometry.w_shape[0]
    added = NO_IMAGES if added is None else contiguous(added)
    assert not added.size or added.shape == y.shape
    correlate(x, packed, m // geometry.groups, plan, contiguous(scale), contiguous(shift), y, added, relu)
    return y


def pack_linear(w):
    """What linear_packed takes of the weights w (out, in): (tiles, in, COLUMNS), outputs beside each other."""
    tiles = -(-len(w) // COLUMNS)
    packed = np.zeros((tiles, w.shape[1], COLUMNS), np.float32)
    for t in range(tiles):
        packed[t, :, :len(w) - t * COLUMNS] = w[t * COLUMNS:(t + 1) * COLUMNS].T
    return packed


def linear_packed(x, packed, scale, shift, relu):
    """scale * (x @ w.T) + shift, and its ReLU if `relu`; x (n, in), scale and shift (out,).

    A register tile is some samples by COLUMNS outputs: one sample wastes its other rows, but the weights, which are
    what takes the time then, come in one stream.
    """
    n, k = x.shape
    y, threads = np.empty((n, len(scale)), np.float32), numba.get_num_threads()
    rows = np.minimum(np.arange(-(-n // ROWS) * ROWS), n - 1) * k           # beyond the last: the last again
    tiles = np.empty((threads, len(rows) // ROWS, ROWS, COLUMNS), np.float32)
    if n:
        _linear_tasks(contiguous(x), rows, packed, contiguous(scale), contiguous(shift), relu, tiles, y)
    return y


@njit(parallel=True)
def _linear_tasks(x, rows, packed, scale, shift, relu, tiles, y):
    for task in prange(packed.shape[0]):
        _linear_task(x, rows, packed[task], scale, shift, relu, task * COLUMNS, tiles[numba.get_thread_id()], y)


@njit
def _linear_task(x, rows, panel, scale, shift, relu, first, tiles, y):
    """The COLUMNS outputs from `first`, of all samples."""
    tiles[:] = 0
    a, row, b, offsets, sums = (                                     # outside the loops: a counted reference each
        x.ctypes.data, rows.ctypes.data, panel.ctypes.data, PANEL.ctypes.data, tiles.ctypes.data)
    for start in range(0, panel.shape[0], PRODUCT_BLOCK):
        count = min(PRODUCT_BLOCK, panel.shape[0] - start)
        for t in range(tiles.shape[0]):
            total = sums + t * ROWS * COLUMNS * 4
            tile(count, a + start * 4, row + t * ROWS * 8, 1, b + start * COLUMNS * 4, offsets, total, total, FLUSH)
    for i in range(y.shape[0]):
        for j in range(first, min(first + COLUMNS, y.shape[1])):
            value = (tiles[i // ROWS, i % ROWS, j - first] + np.float32(0)) * scale[j] + shift[j]
            y[i, j] = np.float32(0) if relu and value <= 0 else value
