"""The register tile under every product: an LLVM loop of vector fused multiply-adds, written once for all targets.

One call adds the products of a run of k to a tile of ROWS x (vectors * LANES) outputs, each output one chain of
fused multiply-adds over k ascending. Tile shape and vector width therefore choose which outputs are computed
together and never change a bit (DESIGN, numeric contract).
"""
import itertools

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from tinyq.kernels.compile import part, target_features

F32, I64, I32, I1 = ir.FloatType(), ir.IntType(64), ir.IntType(32), ir.IntType(1)

# instruction set -> (rows, vectors a row, float32 lanes a vector): as many accumulators as its registers hold
TILE_SHAPES = (("avx512f", (8, 2, 16)), ("fma", (6, 2, 8)), ("neon", (8, 2, 4)))
PLAIN_SHAPE = (4, 2, 4)


def _tile_shape():
    features = target_features()
    return next((shape for name, shape in TILE_SHAPES if name in features), PLAIN_SHAPE)


ROWS, VECTORS, LANES = _tile_shape()
COLUMNS = VECTORS * LANES
VEC = ir.VectorType(F32, LANES)

# How far ahead of the weights in use others are asked for, in elements: a block of them.
_AHEAD = 256 * ROWS

# What a call does besides adding products; combined with |.
RESUME = 1      # start from the carried partial sum instead of +0
FLUSH = 2       # the block of k ends here: add the sum to the total instead of carrying it


def _element(builder, base, index):
    return builder.gep(base, [index])


def _load_vector(builder, base, index):
    load = builder.load(builder.bitcast(_element(builder, base, index), ir.PointerType(VEC)))
    load.align = 4
    return load


def _store_vector(builder, value, base, index):
    builder.store(value, builder.bitcast(_element(builder, base, index), ir.PointerType(VEC))).align = 4


def _broadcast(builder, scalar):
    undefined, lanes = ir.Constant(VEC, ir.Undefined), ir.Constant(ir.VectorType(I32, LANES), [0] * LANES)
    return builder.shuffle_vector(builder.insert_element(undefined, scalar, I32(0)), undefined, lanes)


_TILE = types.void(types.int64, types.uintp, types.uintp, types.int64, *[types.uintp] * 4, types.int64)


def _make_tile(vectors):
    """The tile function for `vectors` vectors a row (narrow outputs waste fewer lanes with one)."""

    @intrinsic
    def tile(typingctx, k, a, rows, a_step, b, offsets, carry, total, flags):
        """Add sum over i < k of outer(a[rows[:] + i * a_step], b[offsets[i] : + columns]) to a tile.

        Addresses are integers; `rows` (ROWS) and `offsets` (k) point to int64 element offsets; `carry` and
        `total` are tiles (ROWS, vectors * LANES) of float32; `flags` combines RESUME and FLUSH.
        """
        def codegen(context, builder, sig, args):
            builder.call(_tile_function(builder.module, vectors, False), args)
            return context.get_dummy_value()

        return _TILE, codegen

    return tile


def _make_gathering_tile(vectors):
    """The same with the offsets on the other side."""

    @intrinsic
    def gathering_tile(typingctx, k, a, rows, b_step, b, offsets, carry, total, flags):
        """Add sum over i < k of outer(a[rows[:] + offsets[i]], b[i * b_step : + columns]) to a tile; see tile."""
        def codegen(context, builder, sig, args):
            builder.call(_tile_function(builder.module, vectors, True), args)
            return context.get_dummy_value()

        return _TILE, codegen

    return gathering_tile


def _tile_function(module, vectors, gathers):
    """The tile as a function of its own. Inlined, LLVM kept two of the sums in memory instead of registers."""
    name = f"tinyq_{'gathering_' if gathers else ''}tile_{vectors}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64] * 9), name)
    function.linkage = "linkonce_odr"
    function.attributes.add("noinline")
    builder = ir.IRBuilder(function.append_basic_block())
    _emit_tile(builder, vectors, gathers, *function.args)
    builder.ret_void()
    return function


def _emit_tile(builder, vectors, gathers, k, a, rows, linear_step, b, offsets, carry, total, flags):
    a, b, carry, total = (builder.inttoptr(p, ir.PointerType(F32)) for p in (a, b, carry, total))
    rows, offsets = (builder.inttoptr(p, ir.PointerType(I64)) for p in (rows, offsets))
    fma = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(VEC, [VEC] * 3), f"llvm.fma.v{LANES}f32")
    cells = [(r, v) for r in range(ROWS) for v in range(vectors)]
    at = {(r, v): I64((r * vectors + v) * LANES) for r, v in cells}
    row_start = [_element(builder, a, builder.load(_element(builder, rows, I64(r)))) for r in range(ROWS)]

    # acc = RESUME ? carry : +0
    zero = ir.Constant(VEC, [0.0] * LANES)
    resume = builder.icmp_unsigned("!=", builder.and_(flags, I64(RESUME)), I64(0))
    before = builder.block
    with builder.if_then(resume):
        carried = {cell: _load_vector(builder, carry, at[cell]) for cell in cells}
        resumed = builder.block
    start = {}
    for cell in cells:
        start[cell] = builder.phi(VEC)
        start[cell].add_incoming(zero, before)
        start[cell].add_incoming(carried[cell], resumed)

    loop, done = builder.append_basic_block("k"), builder.append_basic_block("k.end")
    entry = builder.block
    builder.branch(loop)
    builder.position_at_end(loop)
    i = builder.phi(I64)
    i.add_incoming(I64(0), entry)
    accumulators = {cell: builder.phi(VEC) for cell in cells}
    step, offset = builder.mul(i, linear_step), builder.load(_element(builder, offsets, i))
    if gathers:
        step, offset = offset, step
    columns = [_load_vector(builder, b, builder.add(offset, I64(v * LANES))) for v in range(vectors)]
    sums = {}
    for r in range(ROWS):
        x = _broadcast(builder, builder.load(_element(builder, row_start[r], step)))
        for v in range(vectors):
            sums[r, v] = builder.call(fma, [x, columns[v], accumulators[r, v]])
    if gathers:
        _keep_order(builder)
    else:
        _prefetch(builder, _element(builder, row_start[0], builder.add(step, I64(_AHEAD))))
    following = builder.add(i, I64(1))
    i.add_incoming(following, loop)
    for cell in cells:
        accumulators[cell].add_incoming(start[cell], entry)
        accumulators[cell].add_incoming(sums[cell], loop)
    builder.cbranch(builder.icmp_signed("<", following, k), loop, done)
    builder.position_at_end(done)

    flush = builder.icmp_unsigned("!=", builder.and_(flags, I64(FLUSH)), I64(0))
    with builder.if_else(flush) as (ends, goes_on):
        with ends:
            for cell in cells:
                block_sum = builder.fadd(_load_vector(builder, total, at[cell]), sums[cell])
                _store_vector(builder, block_sum, total, at[cell])
        with goes_on:
            for cell in cells:
                _store_vector(builder, sums[cell], carry, at[cell])


def _prefetch(builder, pointer):
    """Ask for the cache line at a pointer."""
    byte = ir.PointerType(ir.IntType(8))
    prefetch = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(ir.VoidType(), [byte, I32, I32, I32]), "llvm.prefetch.p0")
    builder.call(prefetch, [builder.bitcast(pointer, byte), I32(0), I32(3), I32(1)])


def _keep_order(builder):
    """Let no load pass this point. LLVM mixes two steps of k, which costs a fifth where eight loads wait for an offset.

    Where one does, it gains a tenth.
    """
    builder.asm(ir.FunctionType(ir.VoidType(), []), "", "~{memory}", [], side_effect=True)


tile, narrow_tile = _make_tile(VECTORS), _make_tile(1)
gathering_tile, narrow_gathering_tile = _make_gathering_tile(VECTORS), _make_gathering_tile(1)


@part
def any_tile(columns, k, a, rows, a_step, b, offsets, carry, total, flags):
    """The tile of COLUMNS or of LANES columns."""
    if columns == COLUMNS:
        tile(k, a, rows, a_step, b, offsets, carry, total, flags)
    else:
        narrow_tile(k, a, rows, a_step, b, offsets, carry, total, flags)


@part
def any_gathering_tile(columns, k, a, rows, b_step, b, offsets, carry, total, flags):
    """The gathering tile of COLUMNS or of LANES columns."""
    if columns == COLUMNS:
        gathering_tile(k, a, rows, b_step, b, offsets, carry, total, flags)
    else:
        narrow_gathering_tile(k, a, rows, b_step, b, offsets, carry, total, flags)


@intrinsic
def store_run(typingctx, source, target, count, room, scale, shift):
    """target[j] = source[j] * scale + shift (two roundings) for 0 <= j < count <= COLUMNS, given addresses.

    Whole vectors are read and, where the first `room` places allow, written: what lies behind the run is overwritten
    with anything, and is to be stored afterwards.
    """
    signature = types.void(types.uintp, types.uintp, types.int64, types.int64, types.float32, types.float32)

    def codegen(context, builder, sig, args):
        source, target, count, room, scale, shift = args
        source, target = (builder.inttoptr(p, ir.PointerType(F32)) for p in (source, target))
        scale, shift = _broadcast(builder, scale), _broadcast(builder, shift)
        for v in range(VECTORS):
            begin, end = I64(v * LANES), I64((v + 1) * LANES)
            with builder.if_then(builder.icmp_signed(">", count, begin)):
                value = _affine(builder, _load_vector(builder, source, begin), scale, shift)
                # A masked store takes several times as long as a plain one.
                with builder.if_else(builder.icmp_signed(">=", room, end)) as (plainly, masked):
                    with plainly:
                        _store_vector(builder, value, target, begin)
                    with masked:
                        _store_first(builder, value, target, begin, builder.sub(count, begin))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def finish_run(typingctx, target, added, count, relu):
    """target[j] += added[j] (an address, or 0 for none), and then its ReLU if `relu`, for j < count."""
    signature = types.void(types.uintp, types.uintp, types.int64, types.boolean)

    def codegen(context, builder, sig, args):
        target, added, count, relu = args
        adds, zeros = builder.icmp_unsigned("!=", added, I64(0)), ir.Constant(VEC, [0.0] * LANES)
        target = builder.inttoptr(target, ir.PointerType(F32))
        # Without anything to add the target itself is read a second time: one loop serves all.
        added = builder.select(adds, builder.inttoptr(added, ir.PointerType(F32)), target)
        rest = builder.and_(count, I64(LANES - 1))
        whole = builder.sub(count, rest)

        def finished(value, other):
            value = builder.select(adds, builder.fadd(value, other), value)
            rectified = builder.select(builder.fcmp_ordered("<=", value, zeros), zeros, value)
            return builder.select(relu, rectified, value)

        with cgutils.for_range_slice(builder, I64(0), whole, I64(LANES)) as (at, _):
            value, other = (_load_vector(builder, p, at) for p in (target, added))
            _store_vector(builder, finished(value, other), target, at)
        with builder.if_then(builder.icmp_signed(">", rest, I64(0))):
            inside = _first_lanes(builder, rest)
            value, other = (_load_masked(builder, p, whole, inside) for p in (target, added))
            _store_masked(builder, finished(value, other), target, whole, inside)
        return context.get_dummy_value()

    return signature, codegen


def _store_first(builder, value, target, index, count):
    """Store the first `count` lanes of a vector."""
    _store_masked(builder, value, target, index, _first_lanes(builder, count))


def _first_lanes(builder, count):
    """The mask of the first `count` lanes."""
    lanes = ir.Constant(ir.VectorType(I32, LANES), list(range(LANES)))
    return builder.icmp_signed("<", lanes, _broadcast_int(builder, count))


def _load_masked(builder, base, index, mask):
    """A vector of which the lanes outside the mask are not touched, and 0."""
    pointer = builder.bitcast(_element(builder, base, index), ir.PointerType(VEC))
    load = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(VEC, [ir.PointerType(VEC), I32, ir.VectorType(I1, LANES), VEC]),
        f"llvm.masked.load.v{LANES}f32.p0")
    return builder.call(load, [pointer, I32(4), mask, ir.Constant(VEC, [0.0] * LANES)])


def _store_masked(builder, value, target, index, mask):
    """Store the lanes in the mask."""
    pointer = builder.bitcast(_element(builder, target, index), ir.PointerType(VEC))
    arguments = [VEC, ir.PointerType(VEC), I32, ir.VectorType(I1, LANES)]
    store = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(ir.VoidType(), arguments), f"llvm.masked.store.v{LANES}f32.p0")
    builder.call(store, [value, pointer, I32(4), mask])


def _broadcast_int(builder, value):
    kind = ir.VectorType(I32, LANES)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), builder.trunc(value, I32), I32(0))
    return builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), ir.Constant(kind, [0] * LANES))


@intrinsic
def copy_floats(typingctx, source, target, count):
    """Copy `count` float32 from one address to another; inline, as most runs are a few vectors long."""
    signature = types.void(types.uintp, types.uintp, types.int64)

    def codegen(context, builder, sig, args):
        source, target, count = args
        source, target = (builder.inttoptr(p, ir.PointerType(F32)) for p in (source, target))
        rest = builder.and_(count, I64(LANES - 1))
        whole = builder.sub(count, rest)
        with cgutils.for_range_slice(builder, I64(0), whole, I64(LANES)) as (at, _):
            _store_vector(builder, _load_vector(builder, source, at), target, at)
        with builder.if_then(builder.icmp_signed(">", rest, I64(0))):
            inside = _first_lanes(builder, rest)
            _store_masked(builder, _load_masked(builder, source, whole, inside), target, whole, inside)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def copy_vector(typingctx, source, target):
    """Copy LANES float32 from one address to another."""
    def codegen(context, builder, sig, args):
        source, target = (builder.inttoptr(p, ir.PointerType(F32)) for p in args)
        _store_vector(builder, _load_vector(builder, source, I64(0)), target, I64(0))
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp), codegen


@intrinsic
def copy_even(typingctx, source, target, count):
    """target[j] = source[2 * j] for j < count, touching nothing else."""
    signature = types.void(types.uintp, types.uintp, types.int64)
    places = ir.Constant(ir.VectorType(I32, LANES), [2 * j for j in range(LANES)])

    def codegen(context, builder, sig, args):
        source, target, count = args
        source, target = (builder.inttoptr(p, ir.PointerType(F32)) for p in (source, target))
        rest = builder.and_(count, I64(LANES - 1))
        whole = builder.sub(count, rest)
        with cgutils.for_range_slice(builder, I64(0), whole, I64(LANES)) as (at, _):
            begin = builder.mul(at, I64(2))
            low = _load_vector(builder, source, begin)
            high = _load_vector(builder, source, builder.add(begin, I64(LANES - 1)))
            of_both = [2 * j if j < LANES // 2 else 2 * j + 1 for j in range(LANES)]
            order = ir.Constant(places.type, of_both)             # the second half from a vector that begins one before
            _store_vector(builder, builder.shuffle_vector(low, high, order), target, at)
        with builder.if_then(builder.icmp_signed(">", rest, I64(0))):
            read = builder.sub(builder.mul(rest, I64(2)), I64(1))
            begin, second = builder.mul(whole, I64(2)), builder.sub(read, I64(LANES))
            low = _load_masked(builder, source, begin, _first_lanes(builder, read))
            high = _load_masked(builder, source, builder.add(begin, I64(LANES)), _first_lanes(builder, second))
            evens = builder.shuffle_vector(low, high, places)
            _store_first(builder, evens, target, whole, rest)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def store_every_second(typingctx, source, target, count, scale, shift):
    """target[2 * j] = source[j] * scale + shift (two roundings) for 0 <= j < count <= COLUMNS; the odd ones are kept.

    Whole vectors are read.
    """
    signature = types.void(types.uintp, types.uintp, types.int64, types.float32, types.float32)

    def codegen(context, builder, sig, args):
        source, target, count, scale, shift = args
        source, target = (builder.inttoptr(p, ir.PointerType(F32)) for p in (source, target))
        scale, shift = _broadcast(builder, scale), _broadcast(builder, shift)
        index = ir.VectorType(I32, LANES)
        even = ir.Constant(ir.VectorType(I1, LANES), [j % 2 == 0 for j in range(LANES)])
        for half in range(2 * VECTORS):                                 # of a vector of values, spread over a whole one
            begin = half * LANES // 2
            with builder.if_then(builder.icmp_signed(">", count, I64(begin))):
                value = _affine(builder, _load_vector(builder, source, I64(half // 2 * LANES)), scale, shift)
                spread = [half % 2 * LANES // 2 + j // 2 for j in range(LANES)]
                value = builder.shuffle_vector(value, value, ir.Constant(index, spread))
                places = ir.Constant(index, [begin + j // 2 for j in range(LANES)])
                inside = builder.icmp_signed("<", places, _broadcast_int(builder, count))
                _store_masked(builder, value, target, I64(2 * begin), builder.and_(inside, even))
        return context.get_dummy_value()

    return signature, codegen


def _affine(builder, value, scale, shift):
    """value * scale + shift, after -0 has become +0 (contract)."""
    value = builder.fadd(value, ir.Constant(VEC, [0.0] * LANES))
    return builder.fadd(builder.fmul(value, scale), shift)


@intrinsic
def peek(typingctx, base, index):
    """The float32 at an address plus `index` elements, without numba's wrap-around of negative indices."""
    def codegen(context, builder, sig, args):
        return builder.load(_element(builder, builder.inttoptr(args[0], ir.PointerType(F32)), args[1]))

    return types.float32(types.uintp, types.int64), codegen


@intrinsic
def peek_index(typingctx, base, index):
    """The int64 at an address plus `index` elements."""
    def codegen(context, builder, sig, args):
        return builder.load(_element(builder, builder.inttoptr(args[0], ir.PointerType(I64)), args[1]))

    return types.int64(types.uintp, types.int64), codegen


@intrinsic
def poke(typingctx, base, index, value):
    """Store a float32 at an address plus `index` elements."""
    def codegen(context, builder, sig, args):
        builder.store(args[2], _element(builder, builder.inttoptr(args[0], ir.PointerType(F32)), args[1]))
        return context.get_dummy_value()

    return types.void(types.uintp, types.int64, types.float32), codegen


@intrinsic
def transpose_tile(typingctx, source, source_row, target, target_row):
    """target[j, i] = source[i, j] for i, j < LANES; row strides count elements."""
    signature = types.void(types.uintp, types.int64, types.uintp, types.int64)

    def codegen(context, builder, sig, args):
        source, source_row, target, target_row = args
        source, target = (builder.inttoptr(p, ir.PointerType(F32)) for p in (source, target))
        rows = [_load_vector(builder, source, builder.mul(source_row, I64(i))) for i in range(LANES)]
        for i, column in enumerate(_interleaved(builder, rows)):
            _store_vector(builder, column, target, builder.mul(target_row, I64(i)))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def interleave_rows(typingctx, source, source_row, target):
    """target[j * ROWS + i] = source[i * source_row + j] for i < ROWS, j < LANES."""
    signature = types.void(types.uintp, types.int64, types.uintp)

    def codegen(context, builder, sig, args):
        source, source_row, target = args
        source, target = (builder.inttoptr(p, ir.PointerType(F32)) for p in (source, target))
        rows = [_load_vector(builder, source, builder.mul(source_row, I64(i))) for i in range(ROWS)]
        if ROWS & (ROWS - 1) == 0:
            for i, vector in enumerate(_interleaved(builder, rows)):
                _store_vector(builder, vector, target, I64(i * LANES))
        else:
            for i, j in itertools.product(range(ROWS), range(LANES)):
                builder.store(builder.extract_element(rows[i], I32(j)), _element(builder, target, I64(j * ROWS + i)))
        return context.get_dummy_value()

    return signature, codegen


def _interleaved(builder, rows):
    """A power of two of vectors, their elements in the order element by element: of LANES vectors, the transpose.

    log2(rows) rounds of interleaving row i with row i + rows / 2 (perfect shuffles).
    """
    half, index = len(rows) // 2, ir.VectorType(I32, LANES)
    low = ir.Constant(index, [i // 2 + (i % 2) * LANES for i in range(LANES)])
    high = ir.Constant(index, [LANES // 2 + i // 2 + (i % 2) * LANES for i in range(LANES)])
    for _ in range(half.bit_length()):
        pairs = [(rows[i], rows[i + half]) for i in range(half)]
        rows = [builder.shuffle_vector(a, b, order) for a, b in pairs for order in (low, high)]
    return rows
