"""Sums in the contract's order, as functions numba code can call: 32 float64 lanes that stay in vector registers.

Lane j adds the elements j, j + 32, ... of the span; then lanes 16 apart are added, then 8, 4, 2 and 1 apart.
LLVM cuts the 32 lanes into whatever vectors the target has, which leaves every lane's own order alone.
"""
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from tinyq.kernels.contract import LANES

F32, F64, I1, I32, I64 = ir.FloatType(), ir.DoubleType(), ir.IntType(1), ir.IntType(32), ir.IntType(64)
SINGLES, DOUBLES = ir.VectorType(F32, LANES), ir.VectorType(F64, LANES)


def _lane_sum(arrays, constants, term):
    """The body of an intrinsic f(*arrays, *constants, start, count): the sum over i of `term` at start + i.

    term(builder, vectors, constants) -> the 32 summands of one step, all of them float64 vectors.
    """
    def typed(signature_types):
        expected = [types.Array(types.float32, 1, "C")] * arrays
        readable = all(isinstance(t, types.Array) and (t.dtype, t.ndim, t.layout) == (types.float32, 1, "C")
                       for t in signature_types[:arrays])
        if not readable:
            return None
        return types.float64(*signature_types[:arrays], *[types.float64] * constants, types.int64, types.int64)

    def codegen(context, builder, signature, args):
        start, count = args[-2:]
        pointers = [builder.gep(context.make_array(t)(context, builder, a).data, [start])
                    for t, a in zip(signature.args[:arrays], args[:arrays], strict=True)]
        spread = [_broadcast(builder, c, DOUBLES) for c in args[arrays:-2]]

        def summands(at, mask):
            vectors = [_load(builder, builder.gep(p, [at]), mask) for p in pointers]
            return term(builder, vectors, spread)

        lanes = cgutils.alloca_once_value(builder, ir.Constant(DOUBLES, [0.0] * LANES))
        rest = builder.and_(count, I64(LANES - 1))
        full = builder.sub(count, rest)
        with cgutils.for_range_slice(builder, I64(0), full, I64(LANES)) as (at, _):
            builder.store(builder.fadd(builder.load(lanes), summands(at, None)), lanes)
        with builder.if_then(builder.icmp_signed(">", rest, I64(0))):
            index = ir.Constant(ir.VectorType(I64, LANES), list(range(LANES)))
            mask = builder.icmp_signed("<", index, _broadcast(builder, rest, index.type))
            # A lane past the end adds +0, which changes no lane: none of them is ever -0.
            added = builder.select(mask, summands(full, mask), ir.Constant(DOUBLES, [0.0] * LANES))
            builder.store(builder.fadd(builder.load(lanes), added), lanes)
        return _join(builder, builder.load(lanes))

    return typed, codegen


def _broadcast(builder, scalar, vector_type):
    """A vector with `scalar` in every lane."""
    undefined = ir.Constant(vector_type, ir.Undefined)
    first = builder.insert_element(undefined, scalar, I32(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(I32, LANES), [0] * LANES))


def _load(builder, pointer, mask):
    """32 float32 at `pointer` as float64; with a mask the masked-out ones are not touched and read as 0."""
    vector_pointer = builder.bitcast(pointer, SINGLES.as_pointer())
    if mask is None:
        singles = builder.load(vector_pointer)
        singles.align = 4
    else:
        load = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(SINGLES, [SINGLES.as_pointer(), I32, mask.type, SINGLES]),
            f"llvm.masked.load.v{LANES}f32.p0")
        singles = builder.call(load, [vector_pointer, I32(4), mask, ir.Constant(SINGLES, [0.0] * LANES)])
    return builder.fpext(singles, DOUBLES)


def _join(builder, lanes):
    """The fixed tree: halves are added until one lane is left."""
    width = LANES // 2
    while width:
        low, high = (ir.Constant(ir.VectorType(I32, width), list(range(first, first + width))) for first in (0, width))
        lanes = builder.fadd(builder.shuffle_vector(lanes, lanes, low), builder.shuffle_vector(lanes, lanes, high))
        width //= 2
    return builder.extract_element(lanes, I32(0))


_sum_types, _sum_code = _lane_sum(1, 0, lambda builder, x, constants: x[0])


@intrinsic
def lane_sum(typingctx, x, start, count):
    """Sum of x[start : start + count]."""
    return _sum_types([x]), _sum_code
