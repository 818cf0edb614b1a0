"""Tiles of byte codes: in AMX's tile registers where the instruction set has them, else register tiles (dots.py)."""
from numba.core import cgutils
from numba.types import void

from tinyq.kernels.integer import amx, dots
from tinyq.kernels.integer.dots import TILE
from tinyq.kernels.integer.tile_shape import NR, VECTOR_BYTES, VECTORS
from tinyq.kernels.jit.intrinsics import emits
from tinyq.kernels.jit.isa import SHAPE
from tinyq.kernels.simd.llvm import I64

_HALVES = SHAPE.rows // amx.TILE_ROWS
_SUMS, _CODES, _LEVELS = 0, _HALVES * VECTORS, _HALVES * VECTORS + _HALVES        # the first register of each kind


# amx is looked up when the code is emitted: an emulator may have replaced its functions.

@emits(void())
def begin_tiles(builder):
    """Set up the tile registers before a task's tiles; nothing where there are none."""
    if SHAPE.tiles:
        amx.configure(builder)


@emits(void())
def end_tiles(builder):
    """Release the tile registers after a task's tiles."""
    if SHAPE.tiles:
        amx.release(builder)


@emits(TILE, outlined_as="amx_tile")
def _byte_tile(builder, steps, rows, codes, stride, levels, sums, resume):
    """dots.byte_tile between begin_tiles and end_tiles; steps: of whole tile registers."""
    _emit_tile(builder, steps, rows, codes, stride, levels, sums, resume)


def _emit_tile(builder, steps, rows, *others):
    """All rows, or the first half of them where there are no more."""
    few = builder.icmp_signed("<=", rows, I64(amx.TILE_ROWS))
    with builder.if_else(few) as (one, all_):
        with one:
            _emit_halves(builder, 1, steps, *others)
        with all_:
            _emit_halves(builder, _HALVES, steps, *others)


def _emit_halves(builder, halves, steps, codes, stride, levels, sums, resume):
    cells = [(h, v) for h in range(halves) for v in range(VECTORS)]
    register = {(h, v): _SUMS + h * VECTORS + v for h, v in cells}
    row = I64(NR * 4)
    place = {(h, v): builder.add(sums, I64(h * amx.TILE_ROWS * NR * 4 + v * VECTOR_BYTES)) for h, v in cells}
    start = [builder.add(codes, builder.mul(stride, I64(h * amx.TILE_ROWS))) for h in range(halves)]
    resumes = builder.icmp_signed("!=", resume, I64(0))
    with builder.if_else(resumes) as (goes_on, begins):
        with goes_on:
            for cell in cells:
                amx.load(builder, register[cell], place[cell], row)
        with begins:
            for cell in cells:
                amx.zero(builder, register[cell])
    with cgutils.for_range_slice(builder, I64(0), steps, I64(SHAPE.step_multiple)) as (at, _):
        level_at = builder.add(levels, builder.mul(at, I64(NR * 4)))
        for v in range(VECTORS):
            amx.load(builder, _LEVELS + v, builder.add(level_at, I64(v * VECTOR_BYTES)), row)
        for h in range(halves):
            amx.load(builder, _CODES + h, builder.add(start[h], builder.shl(at, I64(2))), stride)
            for v in range(VECTORS):
                amx.add_products(builder, register[h, v], _CODES + h, _LEVELS + v)
    for cell in cells:
        amx.store(builder, register[cell], place[cell], row)


byte_tile = _byte_tile if SHAPE.tiles else dots.byte_tile
