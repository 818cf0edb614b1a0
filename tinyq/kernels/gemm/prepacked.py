"""Products with weights that are packed once: the affine, an addition and a ReLU are done as outputs are stored."""
from typing import NamedTuple

import numba
import numpy as np

from tinyq.kernels.contract import KC
from tinyq.kernels.gemm.coded_weights import BEHIND, NOT_CODED, Coded, code_rows, decode_run
from tinyq.kernels.gemm.level_runs import (
    MAX_LEVELS,
    PANELS_AT_ONCE,
    bits_for,
    can_decode,
    coded_float_row_2,
    coded_float_row_4,
    encode,
)
from tinyq.kernels.gemm.operands import Epilogue, Operands
from tinyq.kernels.gemm.select import Driver, convolve, pixels_pay, select_by_rows
from tinyq.kernels.gemm.weight_panels import WeightRows, pack_rows
from tinyq.kernels.geometry.conv_geometry import ConvGeometry
from tinyq.kernels.geometry.conv_plan import forward_plan
from tinyq.kernels.geometry.spans import NO_IMAGES, contiguous
from tinyq.kernels.jit.compile import njit, part, prange
from tinyq.kernels.simd.register_tile import FLUSH, PANEL, tile
from tinyq.kernels.simd.vectors import MR, NR

_FEW = 3                                # samples up to which a register tile would be mostly idle


class PackedWeights(NamedTuple):
    """Weights packed for the kernels: floats, or codes and an empty array with the first axes of the floats.

    by_pixels: for a convolution by tiles of pixels, in panels as a linear layer's (see select.py).
    """

    floats: np.ndarray
    coded: Coded
    by_pixels: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes of the packed weights in memory."""
        return self.floats.nbytes + self.coded.codes.nbytes + self.coded.table.nbytes


def pack_weights(w: np.ndarray, groups: int, pixels: int | None = None) -> PackedWeights:
    """Pack the weights w (c_out, c_in / groups, kh, kw) for conv2d_packed; pixels: of a plane of y, if known."""
    m, taps = len(w) // groups, w[0].size
    if pixels_pay(pixels, m):
        return PackedWeights(_grouped_panels(w, groups, -(-m // NR), np.float32(0)), NOT_CODED, True)
    rows = WeightRows(groups=groups, m=m, row_step=taps, taps=np.arange(taps))
    return PackedWeights(pack_rows(w, rows, np.append(np.arange(0, taps, KC), taps)), NOT_CODED)


def code_weights(w: np.ndarray, groups: int, levels: np.ndarray, pixels: int | None = None) -> PackedWeights:
    """Pack weights that are levels (ascending float32); they stay in codes where the target can decode them."""
    if not _can_code(levels):
        return pack_weights(w, groups, pixels)
    m = len(w) // groups
    if pixels_pay(pixels, m):
        panels = _grouped_panels(w, groups, -(-m // NR), levels[0])
        return PackedWeights(np.empty((*panels.shape[:3], 0), np.float32),
                             _code_panels(panels.reshape(-1, *panels.shape[2:]), levels), True)
    rows = np.full((groups, -(-m // MR) * MR, *w.shape[1:]), levels[0])      # whole tiles: every code is one
    rows[:, :m] = w.reshape(groups, m, *w.shape[1:])
    packed = pack_weights(rows.reshape(-1, *w.shape[1:]), groups).floats
    return PackedWeights(np.empty((*packed.shape[:3], 0), np.float32), code_rows(packed, levels, bits_for(len(levels))))


def _grouped_panels(w, groups, panels, fill):
    return np.stack([_panels(part, panels, fill) for part in w.reshape(groups, len(w) // groups, -1)])


def conv2d_packed(x: np.ndarray, packed: PackedWeights, geometry: ConvGeometry, scale: np.ndarray, shift: np.ndarray,
                  added: np.ndarray | None, relu: bool, into: np.ndarray | None = None, first: int = 0) -> np.ndarray:
    """scale * (x * w) + shift, `added` (of the output's shape, or None) added to it, and its ReLU if `relu`.

    scale and shift (c_out,). Each of the four steps rounds, as when they are done one after the other. into: an array
    (n, channels, oh, ow) whose channels from `first` on become the output, which is then a view of them.
    """
    assert x.shape == geometry.x_shape, (x.shape, geometry)
    plan, c_out = forward_plan(geometry), geometry.w_shape[0]
    m = c_out // geometry.groups
    target = np.empty(geometry.output_shape, np.float32) if into is None else into
    y = target[:, first:first + c_out]
    assert y.shape == geometry.output_shape and target.flags.carray, (y.shape, geometry)
    added = NO_IMAGES if added is None else contiguous(added)
    assert not added.size or added.shape == y.shape
    driver = Driver.PIXELS if packed.by_pixels else select_by_rows(plan, m)
    convolve(driver, Operands(contiguous(x), packed.floats, m), plan,
             Epilogue(contiguous(scale), contiguous(shift), added, relu, first), target, packed.coded)
    return y if into is not None else target


def pack_linear(w: np.ndarray) -> PackedWeights:
    """Pack the weights w (out, in) for linear_packed: (tiles, in, NR), outputs side by side."""
    return PackedWeights(_panels(w, -(-len(w) // NR), np.float32(0)), NOT_CODED)


def code_linear(w: np.ndarray, levels: np.ndarray) -> PackedWeights:
    """Pack weights (out, in) that are levels, which stay in codes (see code_weights)."""
    if not _can_code(levels):
        return pack_linear(w)
    tiles = -(-len(w) // (NR * PANELS_AT_ONCE)) * PANELS_AT_ONCE
    coded = _code_panels(_panels(w, tiles, levels[0]), levels)
    return PackedWeights(np.empty((tiles, w.shape[1], 0), np.float32), coded)


def _code_panels(panels, levels):
    """Encode panels (panels, k, NR), one run each."""
    codes, table = encode(panels.reshape(len(panels), -1), levels)
    return Coded(bits_for(len(levels)), len(panels), codes.shape[1], codes.shape[1], 1, codes.reshape(-1), table)


def _can_code(levels):
    return can_decode() and len(levels) <= MAX_LEVELS


def _panels(w, tiles, fill):
    packed = np.full((tiles, w.shape[1], NR), fill, np.float32)
    for t in range(-(-len(w) // NR)):
        packed[t, :, :len(w) - t * NR] = w[t * NR:(t + 1) * NR].T
    return packed


def linear_packed(x: np.ndarray, packed: PackedWeights, scale: np.ndarray, shift: np.ndarray,
                  relu: bool) -> np.ndarray:
    """scale * (x @ w.T) + shift, and its ReLU if `relu`; x (n, in), scale and shift (out,).

    A register tile is several samples by NR outputs. With one sample its other rows are idle, but then the time is
    that of reading the weights, in one stream. For few samples codes are decoded in registers.
    """
    n, k = x.shape
    y, threads = np.empty((n, len(scale)), np.float32), numba.get_num_threads()
    x, coded = contiguous(x), packed.coded
    epilogue = Epilogue(contiguous(scale), contiguous(shift), NO_IMAGES, relu)
    if n and coded.bits and n <= _FEW:
        _linear_coded_rows(x, tuple(coded), tuple(epilogue), y)
    elif n:
        rows = np.minimum(np.arange(-(-n // MR) * MR), n - 1) * k       # beyond the last: the last again
        tiles = np.empty((threads, len(rows) // MR, MR, NR), np.float32)
        decoded = np.empty((threads, KC * NR + BEHIND if coded.bits else 0), np.float32)
        _linear_tasks(x, rows, packed.floats, tuple(coded), tuple(epilogue), tiles, decoded, y)
    return y


@njit(parallel=True)
def _linear_tasks(x, rows, packed, coded_, epilogue_, tiles, decoded, y):
    coded, epilogue = Coded(*coded_), Epilogue(*epilogue_)
    for panel in prange(packed.shape[0]):
        thread = numba.get_thread_id()
        _linear_task(x, rows, packed, coded, np.int64(panel), tiles[thread], decoded[thread])
        for i in range(y.shape[0]):
            _finish(tiles[thread, i // MR, i % MR], np.int64(panel) * NR, epilogue, y[i])


@part
def _linear_task(x, rows, packed, coded, panel, tiles, decoded):
    """Return the sums of one panel's NR outputs, for all samples."""
    tiles[:] = 0
    k = packed.shape[1]
    a, row, b, offsets, sums, decoded_at = (                         # outside the loops: a counted reference each
        x.ctypes.data, rows.ctypes.data, packed[panel].ctypes.data, PANEL.ctypes.data, tiles.ctypes.data,
        decoded.ctypes.data)
    for start in range(0, k, KC):
        count = min(KC, k - start)
        weights = b + start * NR * 4
        if coded.bits:
            weights = decoded_at
            at = coded.codes.ctypes.data + panel * coded.run + start * NR * coded.bits // 8
            decode_run(coded, at, count * NR, weights)
        for t in range(tiles.shape[0]):
            total = sums + t * MR * NR * 4
            tile(count, a + start * 4, row + t * MR * 8, 1, weights, offsets, total, total, FLUSH)


@njit(parallel=True)
def _linear_coded_rows(x, coded_, epilogue_, y):
    """Sample by sample, PANELS_AT_ONCE panels per task."""
    coded, epilogue = Coded(*coded_), Epilogue(*epilogue_)
    for task in prange(coded.tiles // PANELS_AT_ONCE):
        codes = coded.codes.ctypes.data + task * PANELS_AT_ONCE * coded.run
        totals = np.empty((PANELS_AT_ONCE, NR), np.float32)
        for i in range(y.shape[0]):
            totals[:] = 0
            _coded_row(x[i], codes, coded, totals)
            for p in range(PANELS_AT_ONCE):
                _finish(totals[p], (np.int64(task) * PANELS_AT_ONCE + p) * NR, epilogue, y[i])


@part
def _coded_row(x, codes, coded, totals):
    table = coded.table.ctypes.data
    if coded.bits == 2:
        coded_float_row_2(x.size, x.ctypes.data, codes, coded.run, table, totals.ctypes.data)
    else:
        coded_float_row_4(x.size, x.ctypes.data, codes, coded.run, table, totals.ctypes.data)


@part
def _finish(sums, first, epilogue, y):
    """Outputs `first` ... of one sample from their sums."""
    scale, shift, relu = epilogue.scale, epilogue.shift, epilogue.relu
    for j in range(first, min(first + NR, y.size)):
        value = (sums[j - first] + np.float32(0)) * scale[j] + shift[j]
        y[j] = np.float32(0) if relu and value <= 0 else value
