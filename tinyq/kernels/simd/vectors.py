"""The target's vectors: their width, the register tile they make, and the LLVM code to load, mask and store them."""
from llvmlite import ir
from numba.core import cgutils

from tinyq.kernels.jit.target import target_features

F32, I64, I32, I1 = ir.FloatType(), ir.IntType(64), ir.IntType(32), ir.IntType(1)
START = I64(0)

# instruction set -> (rows, vectors a row, float32 lanes a vector): as many accumulators as its registers hold
TILE_SHAPES = (("avx512f", (8, 2, 16)), ("fma", (6, 2, 8)), ("neon", (8, 2, 4)))
PLAIN_SHAPE = (4, 2, 4)


def _tile_shape():
    features = target_features()
    return next((shape for name, shape in TILE_SHAPES if name in features), PLAIN_SHAPE)


ROWS, VECTORS, LANES = _tile_shape()
COLUMNS = VECTORS * LANES
SINGLES, INTEGERS, BITS = (ir.VectorType(kind, LANES) for kind in (F32, I32, I1))
ZEROS = ir.Constant(SINGLES, [0.0] * LANES)


def pointer(builder, address, kind=F32):
    """An integer address as a pointer to elements of a kind."""
    return builder.inttoptr(address, kind.as_pointer())


def element(builder, base, index):
    """The place of an element."""
    return builder.gep(base, [index])


def load_vector(builder, base, index=START, kind=SINGLES):
    """LANES elements from `index` on, of any alignment."""
    load = builder.load(builder.bitcast(element(builder, base, index), kind.as_pointer()))
    load.align = 4
    return load


def store_vector(builder, value, base, index=START):
    """Store LANES elements from `index` on."""
    builder.store(value, builder.bitcast(element(builder, base, index), value.type.as_pointer())).align = 4


def evens(builder, low, high):
    """Every second element of two vectors, the first one's first."""
    return builder.shuffle_vector(low, high, ir.Constant(INTEGERS, [2 * lane for lane in range(LANES)]))


def load_masked(builder, base, index, mask):
    """LANES float32, of which those outside the mask are not touched, and 0."""
    load = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(SINGLES, [SINGLES.as_pointer(), I32, BITS, SINGLES]),
        f"llvm.masked.load.v{LANES}f32.p0")
    place = builder.bitcast(element(builder, base, index), SINGLES.as_pointer())
    return builder.call(load, [place, I32(4), mask, ZEROS])


def store_masked(builder, value, base, index, mask):
    """Store the float32 lanes in the mask."""
    store = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(ir.VoidType(), [SINGLES, SINGLES.as_pointer(), I32, BITS]),
        f"llvm.masked.store.v{LANES}f32.p0")
    builder.call(store, [value, builder.bitcast(element(builder, base, index), SINGLES.as_pointer()), I32(4), mask])


def broadcast(builder, scalar, kind=SINGLES):
    """A number in every lane of a vector; of a wider integer its low bits."""
    if isinstance(scalar.type, ir.IntType) and scalar.type != kind.element:
        scalar = builder.trunc(scalar, kind.element)
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, scalar, I32(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(I32, kind.count), [0] * kind.count))


def first_lanes(builder, count):
    """The mask of the first `count` lanes."""
    lanes = ir.Constant(INTEGERS, list(range(LANES)))
    return builder.icmp_signed("<", lanes, broadcast(builder, count, INTEGERS))


def in_vectors(builder, count, step):
    """step(index, count) for every whole vector of `count` elements, with count None, and for what is left, if any."""
    rest = builder.and_(count, I64(LANES - 1))
    whole = builder.sub(count, rest)
    with cgutils.for_range_slice(builder, I64(0), whole, I64(LANES)) as (at, _):
        step(at, None)
    with builder.if_then(builder.icmp_signed(">", rest, I64(0))):
        step(whole, rest)


def change_runs(builder, sources, target, count, change):
    """target[j] = change(source[j] of each source) for j < count, vector by vector; nothing else is touched."""
    def step(at, rest):
        if rest is None:
            store_vector(builder, change(*(load_vector(builder, p, at) for p in sources)), target, at)
        else:
            inside = first_lanes(builder, rest)
            value = change(*(load_masked(builder, p, at, inside) for p in sources))
            store_masked(builder, value, target, at, inside)

    in_vectors(builder, count, step)
