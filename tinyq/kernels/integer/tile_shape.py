"""The integer register tile of this process's instruction set: its sizes, and its vectors."""
from collections.abc import Callable
from typing import NamedTuple

from llvmlite import ir

from tinyq.kernels.jit.isa import SHAPE
from tinyq.kernels.simd.llvm import I8, I16, I32

UNROLLED = 4                            # steps at once: the rows' addresses may not fit the registers

# The register tile computes MR x NR sums.
MR, LANES, VECTORS = SHAPE.rows, SHAPE.lanes, 2
NR, VECTOR_BYTES = LANES * VECTORS, 4 * LANES
SUMS, BYTES, SHORTS = (ir.VectorType(kind, VECTOR_BYTES * 8 // kind.width) for kind in (I32, I8, I16))

# Levels lie in vectors, COLUMNS of them for the same RUN codes of a row: NR outputs, RUN levels each.
RUN = SHAPE.run
COLUMNS = NR * RUN // VECTOR_BYTES
# Of 16-bit codes: the run, and the bytes of a level, 1 where the codes' bytes are multiplied apart.
SHORT_RUN, SHORT_LEVEL_BYTES = (RUN, 1) if SHAPE.neon and SHAPE.dots else (1 if SHAPE.neon else 2, 2)
# The byte that multiplies as 0: where bytes are signed, codes are less by it, and so are lower bytes of 16-bit codes.
ZERO_CODE = 128 if SHAPE.signed else 0
ZERO_LOW_BYTE = ZERO_CODE if SHORT_LEVEL_BYTES == 1 else 0


def as_they_are(builder: ir.IRBuilder, slots: dict) -> None:
    """Leave a tile's sums in the order of memory."""


class Steps(NamedTuple):
    """The code that adds the products of some steps to a tile's sums."""

    add: Callable                       # (builder, slots, addresses of rows, of levels, first step, number of steps)
    least: int = 1                      # number of steps at once where UNROLLED are not left; 1 or 2
    rows: int = 1                       # rows that registers hold together
    arrange: Callable = as_they_are     # from the order of sums in memory to that in registers, and back
    parts: int = 1                      # 2: slots[r, v, 1] have sums of upper bytes, to be multiplied by 256
