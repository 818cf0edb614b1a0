"""The integer program with NumPy alone: what every other executor must give, to the bit, and what runs anywhere.

Sums are taken by a floating-point product whose partial sums all are whole numbers that it holds exactly.
"""
import numpy as np
from numpy.lib.stride_tricks import as_strided

from tinyq.packed.integer.program import (
    Add,
    Clip,
    Dequantise,
    Float,
    MaxPool,
    Mean,
    Move,
    Product,
    Program,
    Quantise,
    Reshape,
    rounded,
)

EXACT_SINGLE, EXACT_DOUBLE = 1 << 24, 1 << 53


class PlainNetwork:
    """A function of a batch (n, ...) float32; codes are arrays (n, c, h, w), as floats are."""

    def __init__(self, program: Program, evaluate_node):
        """evaluate_node(number, floats): the output of a node that stays float, of those it reads."""
        products = [op for op in program.operations if isinstance(op, Product)]
        self._weights = {op.y: _weights(op, program) for op in products}
        self._requants = {op.y: op.requant for op in products}
        self.program, self.evaluate_node = program.without_weights(), evaluate_node

    def __call__(self, x):
        """The logits (n, classes), float32."""
        codes, floats = self._run(x, self.program.operations)
        result = self.program.result
        return floats[result] if result in floats else dequantise(codes[result], self.program.quants[result])

    @property
    def resident_bytes(self) -> int:
        """Of the weights, which NumPy multiplies as floats, and of the numbers of each row."""
        return sum(w.nbytes for w in self._weights.values()) + sum(
            r.multiplier.nbytes + r.offset.nbytes for r in self._requants.values())

    def codes(self, x, operations=None):
        """{value: codes (n, ...)} of what has codes; operations: the first of the program's, by default all."""
        return self._run(x, self.program.operations if operations is None else operations)[0]

    def _run(self, x, operations):
        codes, floats = {}, {-1: x}
        for op in operations:
            getattr(self, f"_{type(op).__name__.lower()}")(op, codes, floats)
        return codes, floats

    def _float(self, op: Float, codes, floats):
        floats[op.y] = self.evaluate_node(op.y, floats)

    def _quantise(self, op: Quantise, codes, floats):
        codes[op.y] = quantise(floats[op.x], op, self.program.dtype)

    def _dequantise(self, op: Dequantise, codes, floats):
        floats[op.y] = dequantise(codes[op.x], op.quant)

    def _product(self, op: Product, codes, floats):
        x = codes[op.x].astype(self._weights[op.y].dtype)
        sums = (_convolved(x, self._weights[op.y], op) if op.geometry else x @ self._weights[op.y].T).astype(np.int64)
        added = None if op.added is None else codes[op.added]
        y = requantise(sums, self._requants[op.y], (1, -1, *[1] * (sums.ndim - 2)), added)
        codes[op.y] = y.astype(np.int32 if self.program.is_wide(op.y) else self.program.dtype)

    def _maxpool(self, op: MaxPool, codes, floats):
        codes[op.y] = _windowed(codes[op.x], op.windows, np.max).astype(self.program.dtype)

    def _mean(self, op: Mean, codes, floats):
        sums = _windowed(codes[op.x].astype(np.int64), op.windows, np.sum)
        shape = (1, 1, *op.windows.output_size)
        codes[op.y] = requantise(sums, op.requant, shape).astype(self.program.dtype)

    def _add(self, op: Add, codes, floats):
        x = codes[op.x].astype(np.int64)
        codes[op.y] = requantise(x, op.requant, (1,), codes[op.added]).astype(self.program.dtype)

    def _clip(self, op: Clip, codes, floats):
        codes[op.y] = np.maximum(codes[op.x], self.program.dtype.type(op.low))

    def _reshape(self, op: Reshape, codes, floats):
        codes[op.y] = codes[op.x].reshape(-1, *self.program.shapes[op.y])

    def _move(self, op: Move, codes, floats):
        x = codes[op.x]
        if op.y not in codes:
            codes[op.y] = np.full((len(x), *self.program.shapes[op.y]), op.fill or 0, self.program.dtype)
        codes[op.y][(slice(None), *op.target)] = x[(slice(None), *op.source)]


def quantise(x, op: Quantise, dtype):
    """Codes of float32 values: one multiplication that rounds, then half to even; NaN becomes the code of 0."""
    with np.errstate(over="ignore"):                    # an infinity is beyond the last code, as it should be
        scaled = np.rint(np.where(np.isnan(x), np.float32(0), x) * np.float32(op.reciprocal))
    low, high = op.quant.low - op.quant.zero, op.quant.high - op.quant.zero
    return (np.clip(scaled, low, high).astype(np.int64) + op.quant.zero).astype(dtype)


def dequantise(q, quant):
    """The float32 values of codes."""
    return (q.astype(np.int64) - quant.zero).astype(np.float32) * np.float32(quant.scale)


def requantise(sums, requant, shape, added=None):
    """int64 codes of int64 sums; multiplier and offset take `shape` beside them."""
    v = sums * requant.multiplier.astype(np.int64).reshape(shape) + requant.offset.reshape(shape)
    if added is not None:
        v += (added.astype(np.int64) * requant.added_multiplier) << requant.added_shift
    return np.clip(rounded(v, requant.shift), requant.low, requant.high)


def integer_levels(op: Product):
    """A product's weights as whole numbers, int8 of their shape."""
    return (op.tensor.bare() / np.float32(op.unit)).astype(np.int8)


def _weights(op, program):
    """Whole numbers in the narrowest float type that holds every partial sum."""
    levels = integer_levels(op)
    quant = program.quants[op.x]
    most = np.abs(levels.astype(np.int64)).reshape(len(levels), -1).sum(axis=1).max() * max(-quant.low, quant.high)
    assert most < EXACT_DOUBLE
    return levels.astype(np.float32 if most < EXACT_SINGLE else np.float64)


def _convolved(x, w, op):
    """Sums (n, c_out, oh, ow) in w's dtype."""
    geometry = op.geometry
    (py, px), (sy, sx), (dy, dx) = geometry.padding, geometry.stride, geometry.dilation
    x = np.pad(x, ((0, 0), (0, 0), (py, py), (px, px)), constant_values=op.padding_code)
    (oh, ow), (m, c, kh, kw) = geometry.output_size, w.shape
    groups, n = geometry.groups, len(x)
    sn, sc, sh, sw = x.strides
    y = np.empty((n, m, oh, ow), w.dtype)
    for g in range(groups):
        image, rows = x[:, g * c:(g + 1) * c], slice(g * m // groups, (g + 1) * m // groups)
        taps = as_strided(image, (n, oh, ow, c, kh, kw), (sn, sh * sy, sw * sx, sc, sh * dy, sw * dx), writeable=False)
        y[:, rows] = (taps.reshape(n * oh * ow, -1) @ w[rows].reshape(m // groups, -1).T).reshape(
            n, oh, ow, -1).transpose(0, 3, 1, 2)
    return y


def _windowed(x, windows, reduction):
    """reduction(taps) over each window of x's planes."""
    flat = x.reshape(*x.shape[:2], -1)
    y = np.empty((*x.shape[:2], windows.outputs), x.dtype)
    rows, columns = np.arange(windows.taps[0]) * windows.step[0], np.arange(windows.taps[1]) * windows.step[1]
    for o in range(windows.outputs):
        taps = windows.origins[o] + rows[:windows.heights[o], None] + columns[:windows.widths[o]]
        y[:, :, o] = reduction(flat[:, :, taps.reshape(-1)], axis=2)
    return y.reshape(*x.shape[:2], *windows.output_size)
