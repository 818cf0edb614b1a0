"""The packed kernels on memory where a stray access shows: [TINYQ_ISA=...] python guarded.py integers|floats.

Buffers begin or end at a page that nobody may touch: what reads or writes beyond them ends the process. They are filled
with a byte before they are used, once with one and once with another: what reads memory that nothing was written to
gives other results. Between the values of an integer program lie bytes that must still be there at the end.
"""
import ctypes
import faulthandler
import mmap
import sys

import numpy as np
from one_product import GEOMETRIES, LEVELS, LINEAR, WEIGHTS, products
from packed_networks import packed, samples
from small_models import MODELS, SHAPE, small

from tinyq import kernels
from tinyq.kernels.gemm import correlate, panels, pixel_tiles, prepacked
from tinyq.kernels.geometry.conv_geometry import conv_geometry
from tinyq.kernels.pooling import max_pool, max_pool_values
from tinyq.packed.float_network import FloatNetwork
from tinyq.packed.integer import arena, compiled_executor, product_weights
from tinyq.packed.integer.lowering import lower
from tinyq.packed.integer.numpy_executor import NumpyExecutor
from tinyq.streams import Streams

PAGE, GAP, NOBODY = mmap.PAGESIZE, 4096, 0             # PROT_NONE of sys/mman.h
WAYS = ((0x5A, True), (0xFF, False))                    # what memory is full of, and whether it ends at the page


def guarded(shape, dtype, filling, at_end):
    """An array full of a byte, the first byte behind it or before it on a page that nobody may touch."""
    dtype = np.dtype(dtype)
    count = int(np.prod(shape))
    size = count * dtype.itemsize
    pages = -(-size // PAGE) * PAGE
    memory = mmap.mmap(-1, pages + 2 * PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for page in (address, address + PAGE + pages):
        if ctypes.CDLL(None, use_errno=True).mprotect(ctypes.c_void_p(page), PAGE, NOBODY):
            raise OSError(ctypes.get_errno(), "mprotect")
    start = PAGE + (pages - size if at_end else 0)
    np.frombuffer(memory, np.uint8, size, start)[:] = filling
    return np.frombuffer(memory, dtype, count, start).reshape(shape)


def moved(array, at_end):
    """The same array on such memory."""
    copy = guarded(array.shape, array.dtype, 0, at_end)
    copy[...] = array
    return copy


# x, kernel, stride, padding, dilation, ceil mode
POOLS = (((1, 1, 3, 3), 2, 1, 0, 1, False), ((2, 2, 3, 3), 2, 1, 0, 1, False), ((1, 40, 1, 1), 3, 1, 1, 1, False),
         ((3, 5, 14, 14), 3, 1, 1, 1, False), ((1, 7, 28, 28), 3, 2, 0, 1, True),
         ((2, 2, 9, 40), (2, 3), (3, 2), (1, 1), (1, 2), False), ((1, 3, 8, 9), 4, 3, 2, 1, False),
         ((40, 9, 16, 17), 2, 2, 0, 1, False))


class Numpy:
    """NumPy, but for `empty`."""

    def __init__(self, filling, at_end):
        self.how = filling, at_end

    def empty(self, shape, dtype=np.float64):
        return guarded(shape, dtype, *self.how)

    def __getattr__(self, name):
        return getattr(np, name)


def use(modules, how):
    """Have these modules' own buffers so; None: as ever."""
    for module in modules:
        module.np = np if how is None else Numpy(*how)


# -- integers ----------------------------------------------------------------------------------------------------------

def apart(program, n, alignment):
    """As arena.batch_arena, with gaps between all values."""
    places, size = {}, GAP
    for value in arena.batch_arena(program, n, alignment).offsets:
        places[value] = size
        size += -(-arena.bytes_per_sample(program, value) * n // alignment) * alignment + GAP
    return arena.Arena(places, size)


def run_integers(program, evaluate_node, x, how, place):
    """CompiledExecutor.run with all of its memory guarded; AssertionError where it wrote between values."""
    use([compiled_executor, product_weights], how)
    compiled_executor.batch_arena = place
    network = compiled_executor.CompiledExecutor(program, evaluate_node)
    for weights in network.weights.values():
        for name in ("packed", "table", "multiplier", "offset"):
            setattr(weights, name, moved(getattr(weights, name), how[1]))
    run = network.run(moved(x, how[1]))
    use([compiled_executor, product_weights], None)
    if place is apart:
        untouched = np.ones(run.arena.size, bool)
        for codes in run.codes.values():
            begin = codes.ctypes.data - run.arena.ctypes.data
            untouched[begin:begin + codes.nbytes] = False
        assert (run.arena[untouched] == how[0]).all(), "written between values"
    return network, run


def integers():
    """Every product and every small network, against NumPy's integers."""
    for kind in ("int8", "int16"):
        for weights in WEIGHTS:
            for name, program, op, shape in products(kind, weights):
                x = 60 * samples(shape[0], shape[1:])
                expected = NumpyExecutor(program, None).codes(x)[op.y]
                for how in WAYS:
                    for place in (arena.batch_arena, apart):
                        _, run = run_integers(program, None, x, how, place)
                        assert np.array_equal(run.in_order(op.y), expected), (kind, weights, name, how)
        for name in [*MODELS, "lenet"]:
            held = small(name) if name in MODELS else packed(name, "shift2")
            x = samples(3, SHAPE if name in MODELS else (1, 28, 28))
            program = lower(held, kind)
            floats = FloatNetwork(held, program.floats)
            expected = NumpyExecutor(program, floats.node)(x)
            for how in WAYS:
                for place in (arena.batch_arena, apart):
                    _, run = run_integers(program, floats.node, x, how, place)
                    assert np.array_equal(run.result(), expected), (kind, name, how)


# -- floats ------------------------------------------------------------------------------------------------------------

def float_case(shape, w_shape, levels, outputs):
    """Input, weights on levels, scale, shift and what is added."""
    draw = Streams(3).key("case", *shape)
    levels = np.array(LEVELS[levels], np.float32)
    arrays = [draw.normal(size).astype(np.float32) for size in (shape, w_shape[:1], w_shape[:1], outputs)]
    return arrays[0], levels[draw.integers(0, len(levels), w_shape)], levels, arrays[1:]


def in_codes(packed, at_end):
    """Packed weights on guarded memory."""
    coded = packed.coded._replace(codes=moved(packed.coded.codes, at_end), table=moved(packed.coded.table, at_end))
    return packed._replace(floats=moved(packed.floats, at_end), coded=coded)


def floats():
    """Products with weights in codes and as floats, against the same on ordinary memory."""
    modules = [correlate, prepacked, panels, pixel_tiles]
    prepacked.pixels_pay = lambda pixels, m: pixels is not None
    for levels in LEVELS:
        for name, case in GEOMETRIES.items():
            geometry = conv_geometry(*case)
            x, w, values, (scale, shift, added) = float_case(*case[:2], levels, geometry.output_shape)
            expected = kernels.conv2d_packed(x, kernels.pack_weights(w, geometry.groups), geometry, scale, shift, added,
                                             True)
            for packed_weights in (*(kernels.code_weights(w, geometry.groups, values, pixels) for pixels in (None, 1)),
                                   *(kernels.pack_weights(w, geometry.groups, pixels) for pixels in (None, 1))):
                # First as ever: numba compiles with NumPy itself.
                assert np.array_equal(kernels.conv2d_packed(x, packed_weights, geometry, scale, shift, added, True),
                                      expected), (levels, name)
                for how in WAYS:
                    use(modules, how)
                    y = kernels.conv2d_packed(*_moved(how[1], x, packed_weights), geometry,
                                              *(moved(a, how[1]) for a in (scale, shift, added)), True)
                    use(modules, None)
                    assert np.array_equal(y, expected), (levels, name, how)
        for n, k, m in LINEAR:
            x, w, values, (scale, shift, _) = float_case((n, k), (m, k), levels, (n, m))
            expected = kernels.linear_packed(x, kernels.pack_linear(w), scale, shift, True)
            for packed_weights in (kernels.code_linear(w, values), kernels.pack_linear(w)):
                assert np.array_equal(kernels.linear_packed(x, packed_weights, scale, shift, True), expected)
                for how in WAYS:
                    use(modules, how)
                    y = kernels.linear_packed(*_moved(how[1], x, packed_weights),
                                              *(moved(a, how[1]) for a in (scale, shift)), True)
                    use(modules, None)
                    assert np.array_equal(y, expected), (levels, n, k, m, how)


def pools():
    """Max pooling with places and without, against the same on ordinary memory."""
    modules = [max_pool, max_pool_values]
    for shape, *settings in POOLS:
        x = Streams(3).key("pool", *shape).normal(shape).astype(np.float32)
        expected = kernels.max_pool2d(x, *settings)
        assert np.array_equal(kernels.max_pool2d_values(x, *settings), expected[0])
        for how in WAYS:
            use(modules, how)
            found = *kernels.max_pool2d(moved(x, how[1]), *settings), kernels.max_pool2d_values(moved(x, how[1]),
                                                                                                *settings)
            use(modules, None)
            assert all(map(np.array_equal, found, (*expected, expected[0]))), (shape, settings, how)


def _moved(at_end, x, packed_weights):
    return moved(x, at_end), in_codes(packed_weights, at_end)


def main():
    faulthandler.enable()
    for threads in (1, 2):
        kernels.set_threads(threads)
        for check in {"integers": (integers,), "floats": (floats, pools)}[sys.argv[1]]:
            check()
    from tinyq.kernels.jit.isa import ISA

    print(ISA.name if ISA else "numpy")


if __name__ == "__main__":
    main()
