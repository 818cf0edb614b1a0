"""The target's float32 vectors, the register tile they make, and the LLVM code that walks a run of elements."""
from collections.abc import Callable

from llvmlite import ir
from numba.core import cgutils

from tinyq.kernels.jit.target import target_features
from tinyq.kernels.simd.llvm import F32, I1, I32, I64, broadcast, load, load_masked, splat, store, store_masked

# instruction set -> (MR, vectors per row, float32 lanes per vector): as many accumulators as its registers hold
TILE_SHAPES = (("avx512f", (8, 2, 16)), ("fma", (6, 2, 8)), ("neon", (8, 2, 4)))
PLAIN_SHAPE = (4, 2, 4)


def _tile_shape():
    features = target_features()
    return next((shape for name, shape in TILE_SHAPES if name in features), PLAIN_SHAPE)


# The register tile computes MR x NR outputs.
MR, VECTORS, LANES = _tile_shape()
NR = VECTORS * LANES
NEON = "neon" in target_features()
SINGLES, INTEGERS, BITS = (ir.VectorType(kind, LANES) for kind in (F32, I32, I1))
ZEROS = splat(SINGLES, 0.0)


def evens(builder: ir.IRBuilder, low: ir.Value, high: ir.Value) -> ir.Value:
    """Every second element of two vectors, the first vector's elements first."""
    return builder.shuffle_vector(low, high, ir.Constant(INTEGERS, [2 * lane for lane in range(LANES)]))


def first_lanes(builder: ir.IRBuilder, count: ir.Value) -> ir.Value:
    """Mask of the first `count` lanes."""
    lanes = ir.Constant(INTEGERS, list(range(LANES)))
    return builder.icmp_signed("<", lanes, broadcast(builder, count, INTEGERS))


def in_vectors(builder: ir.IRBuilder, count: ir.Value, step: Callable) -> None:
    """Emit step(index, None) for each whole vector of `count` elements, and step(index, rest) for the rest, if any."""
    rest = builder.and_(count, I64(LANES - 1))
    whole = builder.sub(count, rest)
    with cgutils.for_range_slice(builder, I64(0), whole, I64(LANES)) as (at, _):
        step(at, None)
    with builder.if_then(builder.icmp_signed(">", rest, I64(0))):
        step(whole, rest)


def change_runs(builder: ir.IRBuilder, sources: tuple[ir.Value, ...], target: ir.Value, count: ir.Value,
                change: Callable) -> None:
    """Emit target[j] = change(source[j] of each source) for j < count, vector by vector, touching nothing else."""
    def step(at, rest):
        if rest is None:
            store(builder, change(*(load(builder, p, at, SINGLES) for p in sources)), target, at)
        else:
            inside = first_lanes(builder, rest)
            value = change(*(load_masked(builder, p, at, inside) for p in sources))
            store_masked(builder, value, target, at, inside)

    in_vectors(builder, count, step)
