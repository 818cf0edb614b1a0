"""Sums in the contract's order, as functions numba code can call: 32 float64 lanes that stay in vector registers.

Lane j adds the elements j, j + 32, ... of a span; then lanes 16 apart are added, then 8, 4, 2 and 1 apart.
LLVM splits the lanes into the vectors of the target, which does not change the order inside a lane.
"""
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from tinyq.kernels.contract import LANES
from tinyq.kernels.simd.llvm import F32, F64, I32, I64, broadcast, load, load_masked, splat

SINGLES, DOUBLES = ir.VectorType(F32, LANES), ir.VectorType(F64, LANES)
ZEROS = splat(DOUBLES, 0.0)


@intrinsic
def lane_sum(typingctx, x, start, count):
    """Sum of x[i], start <= i < start + count; x flat float32."""
    return types.float64(x, types.int64, types.int64), _summing(1, lambda builder, x: x)


@intrinsic
def lane_sum_of_squares(typingctx, x, centre, start, count):
    """Sum of (x[i] - centre)^2, start <= i < start + count; x flat float32, centre float64."""
    def square(builder, x, centre):
        deviation = builder.fsub(x, centre)
        return builder.fmul(deviation, deviation)

    return types.float64(x, types.float64, types.int64, types.int64), _summing(1, square)


@intrinsic
def lane_sum_of_products(typingctx, g, x, centre, start, count):
    """Sum of g[i] * (x[i] - centre), start <= i < start + count; g, x flat float32, centre float64."""
    def product(builder, g, x, centre):
        return builder.fmul(g, builder.fsub(x, centre))

    return types.float64(g, x, types.float64, types.int64, types.int64), _summing(2, product)


def _summing(arrays, term):
    """Code generator of f(*arrays, *numbers, start, count), the sum of term(builder, *elements, *numbers)."""
    def codegen(context, builder, signature, args):
        start, count = args[-2:]
        spans = [builder.gep(context.make_array(array_type)(context, builder, array).data, [start])
                 for array_type, array in zip(signature.args[:arrays], args, strict=False)]
        numbers = [broadcast(builder, number, DOUBLES) for number in args[arrays:-2]]
        lanes = cgutils.alloca_once_value(builder, ZEROS)

        def step(at, mask=None):
            terms = term(builder, *(_load(builder, span, at, mask) for span in spans), *numbers)
            if mask:
                terms = builder.select(mask, terms, ZEROS)           # +0 changes no lane: none of them is ever -0
            builder.store(builder.fadd(builder.load(lanes), terms), lanes)

        rest = builder.and_(count, I64(LANES - 1))
        whole = builder.sub(count, rest)
        with cgutils.for_range_slice(builder, I64(0), whole, I64(LANES)) as (at, _):
            step(at)
        with builder.if_then(builder.icmp_signed(">", rest, I64(0))):
            lane = ir.Constant(ir.VectorType(I64, LANES), list(range(LANES)))
            step(whole, builder.icmp_signed("<", lane, broadcast(builder, rest, lane.type)))
        return _join(builder, builder.load(lanes))

    return codegen


def _load(builder, span, at, mask):
    """Load 32 float32 as float64; masked lanes are 0 and their memory is not touched."""
    singles = load_masked(builder, span, at, mask) if mask else load(builder, span, at, SINGLES)
    return builder.fpext(singles, DOUBLES)


def _join(builder, lanes):
    """Add the upper half to the lower until one lane is left: the contract's fixed tree."""
    width = LANES // 2
    while width:
        low, high = (ir.Constant(ir.VectorType(I32, width), list(range(k, k + width))) for k in (0, width))
        lanes = builder.fadd(builder.shuffle_vector(lanes, lanes, low), builder.shuffle_vector(lanes, lanes, high))
        width //= 2
    return builder.extract_element(lanes, I32(0))
