"""Pack the weights of a product for the compiled kernels, and make the arguments of one kernel call."""
import math

import numpy as np

from tinyq.kernels.integer import code_ops, integer_product
from tinyq.kernels.integer.integer_levels import even_levels, pack_levels
from tinyq.kernels.integer.tile_shape import ZERO_CODE, ZERO_LOW_BYTE
from tinyq.kernels.jit.isa import MAX_SMALL
from tinyq.packed.integer.program import IntegerProduct, integer_levels

ALIGNMENT = 64


class ProductWeights:
    """A product's packed levels, multipliers and offsets, in panels of NR outputs."""

    def __init__(self, op: IntegerProduct, itemsize: int):
        """Pack the weights; itemsize: bytes per activation code."""
        levels = integer_levels(op)
        groups = 1 if op.geometry is None else op.geometry.groups
        if op.geometry is not None:                         # rows of activations are gathered as (kh, kw, c)
            levels = levels.transpose(0, 2, 3, 1)
        levels = np.ascontiguousarray(levels).reshape(len(levels), -1)
        self.packed, self.table, self.bits, self.steps, self.halves = pack_levels(levels, groups, itemsize)
        self.small = int(np.abs(levels.astype(np.int64)).max() <= MAX_SMALL)
        self.least, self.step = even_levels(self.table, self.bits, self.steps)
        per_group = self.packed.shape[1] * integer_product.NR
        self.multiplier = _by_panels(op.requant.multiplier, groups, per_group)
        self.offset = _by_panels(op.requant.offset + _taken_off(op, levels, itemsize), groups, per_group)

    @property
    def panels(self) -> int:
        """Panels per group."""
        return self.packed.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(a.nbytes for a in (self.packed, self.table, self.multiplier, self.offset))


def _taken_off(op, levels, itemsize):
    """Return what kernels that multiply bytes less ZERO_CODE take off a sum times its multiplier, int64 (outputs,)."""
    zero = ZERO_CODE if itemsize == 1 else ZERO_LOW_BYTE
    return op.requant.multiplier.astype(np.int64) * zero * levels.sum(axis=1, dtype=np.int64)


def _by_panels(values, groups, per_group):
    padded = np.zeros((groups, per_group), values.dtype)
    padded[:, :len(values) // groups] = values.reshape(groups, -1)
    return padded


def product_fields(op: IntegerProduct, weights: ProductWeights, x: np.ndarray, added: np.ndarray | None,
                   y: np.ndarray) -> integer_product.Fields:
    """Return the kernel's arguments for codes (n, places, channels); the caller fills in `scratch`."""
    g, r = op.geometry, op.requant
    n, channels, outputs, size = len(x), x.shape[2], y.shape[2], x.itemsize
    height, width = g.x_shape[2:] if g else (1, 1)
    rows, columns = g.output_size if g else (1, 1)
    taps, stride, dilation = (g.w_shape[2:], g.stride, g.dilation) if g else ((1, 1),) * 3
    padding, groups = (g.padding, g.groups) if g else ((0, 0), 1)
    pixels = n * rows * columns
    few = g is None and pixels * 4 <= integer_product.MR
    coded = few and size == 1 and weights.bits < 8 and weights.halves == 1
    direct = taps == stride == (1, 1) and padding == (0, 0) and not coded
    row_stride = -(-(weights.steps + 4) * 4 // ALIGNMENT) * ALIGNMENT
    blocks, parts, tiles = _split(pixels, weights.panels, groups, row_stride, direct)
    scratch = (2 * integer_product.SLACK + integer_product.MR * integer_product.NR * 4
               + weights.steps * integer_product.NR * 4 * weights.halves + integer_product.SLACK * 8
               + (0 if direct else tiles * integer_product.MR * row_stride) + integer_product.SLACK)
    return integer_product.Fields(
        x=x.ctypes.data, y=y.ctypes.data, added=0 if added is None else added.ctypes.data,
        samples=n, height=height, width=width, channels=channels, rows=rows, columns=columns,
        taps_y=taps[0], taps_x=taps[1], stride_y=stride[0], stride_x=stride[1], top=padding[0], left=padding[1],
        dilation_y=dilation[0], dilation_x=dilation[1], groups=groups, group_channels=channels // groups,
        group_outputs=outputs // groups, outputs=outputs, size=size, result_size=y.itemsize, steps=weights.steps,
        padding=op.padding_code, panels=weights.panels, halves=weights.halves,
        codes=weights.packed.ctypes.data, bits=weights.bits, panel_bytes=weights.packed.shape[2],
        table=weights.table.ctypes.data, small=weights.small,
        min_level=weights.least, level_step=weights.step,
        multiplier=weights.multiplier.ctypes.data, offset=weights.offset.ctypes.data,
        shift=r.shift, low=r.low, high=r.high, added_multiplier=r.added_multiplier, added_shift=r.added_shift,
        direct=int(direct), coded=int(coded), row_stride=row_stride, blocks=blocks, parts=parts, scratch=0,
        scratch_bytes=-(-scratch // ALIGNMENT) * ALIGNMENT)


def overread_bytes(x_shape: tuple[int, ...], itemsize: int) -> int:
    """Return how many bytes after a product's input the kernel may read: it reads whole vectors and whole tiles."""
    channels, _ = channels_and_places(x_shape)
    return integer_product.SLACK + integer_product.MR * channels * itemsize


def channels_and_places(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return (channels, places) of a sample of this shape; a sample that is not an image has one place."""
    return (shape[0], math.prod(shape[1:])) if len(shape) == 3 else (math.prod(shape), 1)


def _split(pixels, panels, groups, row_stride, direct):
    """Return (blocks of tiles, parts of panels, largest number of tiles in a block) so that all threads have work."""
    threads = code_ops.threads()
    tiles = -(-pixels // integer_product.MR)
    most = tiles if direct else max(1, integer_product.MAX_GATHERED // (integer_product.MR * row_stride))
    blocks = -(-tiles // most)
    if threads > 1 and blocks * groups % threads:
        if tiles >= 4 * threads:
            blocks = -(-blocks // threads) * threads
        else:
            parts = min(panels, -(-threads // (blocks * groups)))
            return blocks, parts, -(-tiles // blocks)
    return blocks, 1, -(-tiles // blocks)
