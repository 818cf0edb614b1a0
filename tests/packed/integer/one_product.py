"""Programs of one product, of every shape that the integer kernels tell apart."""
import numpy as np

from tinyq.kernels.geometry.conv_geometry import conv_geometry
from tinyq.packed.file.tensor import BYTES, EncodedTensor, encode_levels
from tinyq.packed.integer.program import IntegerProduct, IntegerProgram, Quant, Quantise, Requant
from tinyq.streams import Streams

CODES = {"int8": (np.uint8, Quant(0.5, 3, 0, 255)), "int16": (np.int16, Quant(0.5, 0, -32767, 32767))}
LEVELS = {"ternary": (-1, 0, 1), "binary": (-1, 1), "shift2": (-4, -2, -1, 0, 1, 2, 4)}
WEIGHTS = ("binary", "ternary", "shift2", "bytes")

# x, w, stride, padding, dilation, groups
GEOMETRIES = {
    "3x3": ((2, 5, 9, 8), (7, 5, 3, 3), 1, 1, 1, 1),
    "one channel, wide window": ((1, 1, 28, 28), (6, 1, 5, 5), 1, 2, 1, 1),
    "1x1": ((3, 70, 4, 5), (33, 70, 1, 1), 1, 0, 1, 1),
    "1x1, stride 2": ((1, 16, 7, 7), (40, 16, 1, 1), 2, 0, 1, 1),
    "stem": ((1, 3, 37, 35), (64, 3, 7, 7), 2, 3, 1, 1),
    "groups": ((2, 12, 6, 6), (10, 6, 3, 3), 1, 1, 1, 2),
    "one channel a group": ((1, 8, 6, 5), (8, 1, 3, 3), 1, 1, 1, 8),
    "dilated": ((1, 4, 11, 12), (5, 4, 3, 2), (1, 2), (2, 0), (2, 3), 1),
    "window beyond the image": ((1, 2, 2, 2), (3, 2, 5, 5), 1, 3, 1, 1),
    "many outputs": ((1, 32, 7, 7), (100, 32, 3, 3), 1, 1, 1, 1),
}
LINEAR = ((1, 5, 3), (1, 9216, 70), (2, 130, 40), (3, 64, 64), (4, 33, 31), (17, 100, 129))      # n, k, outputs


def tensor(shape, kind, seed):
    """Weights of one of LEVELS, or bytes of -127 to 127."""
    draw = Streams(seed).key("weights", *shape).integers
    affine = np.zeros((2, shape[0]), np.float32)
    if kind == "bytes":
        data = draw(-127, 128, (shape[0], int(np.prod(shape[1:])))).astype(np.int8)
        data[0] = -127
        return EncodedTensor(BYTES, shape, data, None, np.ones(1, np.float32), affine)
    levels = np.array(LEVELS[kind], np.float32)
    return encode_levels(levels[draw(0, len(levels), shape)], levels, np.ones(1, np.float32), affine)


def requant(rows, quant, seed, added):
    """Multipliers and offsets that use the whole range of codes, and saturate some."""
    draw = Streams(seed).key("requant", rows)
    multiplier = draw.integers(-2**28, 2**28, rows).astype(np.int32)
    by = (3 << 20, 9) if added else (0, 0)
    return Requant(multiplier, draw.integers(-2**40, 2**40, rows), 33, quant.low, quant.high, *by)


def one_product(kind, shape, weights, geometry, added, wide):
    """The program of a product of the input's codes, its output followed by nothing."""
    dtype, quant = CODES[kind]
    rows = weights.rows
    out = (rows, *geometry.output_size) if geometry else (rows,)
    added = -1 if added and out == shape[1:] else None
    op = IntegerProduct(-1, 0, added, weights, 1.0, geometry, quant.zero, requant(rows, quant, 5, added is not None))
    result = 0 if wide else 1
    return IntegerProgram(kind, np.dtype(dtype), (Quantise(-1, -1, 2.0, quant), op), {-1: shape[1:], 0: out},
                   {-1: quant, 0: quant}, result, result), op


def products(kind, weights):
    """(name, program, product, shape of the input) of every geometry and linear layer."""
    for name, case in GEOMETRIES.items():
        for wide in (False, True):
            made = one_product(kind, case[0], tensor(case[1], weights, 2), conv_geometry(*case), not wide, wide)
            yield f"{name}{', wide' * wide}", *made, case[0]
    for n, k, m in LINEAR:
        yield f"linear {n, k, m}", *one_product(kind, (n, k), tensor((m, k), weights, 3), None, True, False), (n, k)
