"""Run the integer program with NumPy alone, on the kernels' references; every other executor gives the same bits."""
import numpy as np

from tinyq.kernels.reference.integer import code_ops
from tinyq.kernels.reference.integer.integer_product import exact_floats, product
from tinyq.kernels.reference.integer.requantise import requantise
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
)


class PlainNetwork:
    """A function of a batch (n, ...) float32; codes are arrays (n, c, h, w), as floats are."""

    def __init__(self, program: Program, evaluate_node):
        """evaluate_node(number, floats): the output of a node that stays float, of those it reads."""
        products = [op for op in program.operations if isinstance(op, Product)]
        self._weights = {op.y: exact_floats(integer_levels(op), _max_code(program.quants[op.x])) for op in products}
        self._requants = {op.y: op.requant for op in products}
        self.program, self.evaluate_node = program.without_weights(), evaluate_node

    def __call__(self, x):
        """The logits (n, classes), float32."""
        codes, floats = self._run(x, self.program.operations)
        result = self.program.result
        return floats[result] if result in floats else _floats(codes[result], self.program.quants[result])

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
        x, q = floats[op.x], op.quant
        codes[op.y] = np.empty(x.shape, self.program.dtype)
        code_ops.quantise(x.reshape(*x.shape[:2], -1), op.reciprocal, q.zero, q.low, q.high, _by_place(codes[op.y]))

    def _dequantise(self, op: Dequantise, codes, floats):
        floats[op.y] = _floats(codes[op.x], op.quant)

    def _product(self, op: Product, codes, floats):
        sums = product(codes[op.x], self._weights[op.y], op.geometry, op.padding_code)
        r, rows = self._requants[op.y], (-1, *[1] * (sums.ndim - 2))
        added = None if op.added is None else codes[op.added]
        y = requantise(sums, r.multiplier.reshape(rows), r.offset.reshape(rows), r.shift, r.low, r.high, added,
                       r.added_multiplier, r.added_shift)
        codes[op.y] = y.astype(np.int32 if self.program.is_wide(op.y) else self.program.dtype)

    def _maxpool(self, op: MaxPool, codes, floats):
        x, w = codes[op.x], op.windows
        codes[op.y] = np.empty((*x.shape[:2], *w.output_size), self.program.dtype)
        code_ops.max_pool(_by_place(x), w.origins, w.heights, w.widths, *w.step, _by_place(codes[op.y]))

    def _mean(self, op: Mean, codes, floats):
        x, w, r = codes[op.x], op.windows, op.requant
        codes[op.y] = np.empty((*x.shape[:2], *w.output_size), self.program.dtype)
        code_ops.mean(_by_place(x), w.origins, w.heights, w.widths, *w.step, r.multiplier, r.offset, r.shift, r.low,
                      r.high, _by_place(codes[op.y]))

    def _add(self, op: Add, codes, floats):
        r = op.requant
        codes[op.y] = np.empty_like(codes[op.x])
        code_ops.add(codes[op.x], codes[op.added], r.multiplier[0], r.offset[0], r.shift, r.low, r.high,
                     r.added_multiplier, r.added_shift, codes[op.y])

    def _clip(self, op: Clip, codes, floats):
        codes[op.y] = np.maximum(codes[op.x], self.program.dtype.type(op.low))

    def _reshape(self, op: Reshape, codes, floats):
        codes[op.y] = codes[op.x].reshape(-1, *self.program.shapes[op.y])

    def _move(self, op: Move, codes, floats):
        x = codes[op.x]
        if op.y not in codes:
            codes[op.y] = np.full((len(x), *self.program.shapes[op.y]), op.fill or 0, self.program.dtype)
        codes[op.y][(slice(None), *op.target)] = x[(slice(None), *op.source)]


def _max_code(quant):
    return max(-quant.low, quant.high)


def _by_place(codes):
    """Codes (n, c, ...) as a view (n, places, c)."""
    return codes.reshape(*codes.shape[:2], -1).transpose(0, 2, 1)


def _floats(codes, quant):
    y = np.empty(codes.shape, np.float32)
    code_ops.dequantise(_by_place(codes), quant.zero, quant.scale, y.reshape(*y.shape[:2], -1))
    return y


def integer_levels(op: Product):
    """A product's weights as whole numbers, int8 of their shape."""
    return (op.tensor.bare() / np.float32(op.unit)).astype(np.int8)
