"""Run the integer program with NumPy alone, on the kernels' references; every other executor gives the same bits."""
from collections.abc import Callable, Sequence

import numpy as np

from tinyq.kernels.reference.integer import code_ops
from tinyq.kernels.reference.integer.integer_product import exact_rows, product
from tinyq.kernels.reference.integer.requantise import requantise
from tinyq.packed.integer.program import (
    Add,
    Clip,
    Dequantise,
    Float,
    IntegerOperation,
    IntegerProduct,
    IntegerProgram,
    MaxPool,
    Mean,
    Move,
    Quant,
    Quantise,
    Requant,
    Reshape,
    integer_levels,
)

Values = dict[int, np.ndarray]
EvaluateNode = Callable[[int, Values], np.ndarray]


class NumpyExecutor:
    """A function from a batch (n, ...) float32 to the logits. Codes are arrays (n, c, h, w), as floats are."""

    def __init__(self, program: IntegerProgram, evaluate_node: EvaluateNode | None):
        """Prepare the weights; evaluate_node(number, floats) computes a float32 node from the values it reads."""
        self._weights = {op.y: exact_rows(integer_levels(op), _max_code(program.quants[op.x]))
                         for op in program.products}
        self._requants = {op.y: op.requant for op in program.products}
        self.program, self.evaluate_node = program.without_weights(), evaluate_node

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Compute the logits (n, classes), float32."""
        codes, floats = self.values(x)
        result = self.program.result
        return floats[result] if result in floats else _dequantised(codes[result], self.program.quants[result])

    @property
    def resident_bytes(self) -> int:
        """Bytes of the weights in codes and of the per-row numbers."""
        return sum(w.nbytes for w in self._weights.values()) + sum(
            r.multiplier.nbytes + r.offset.nbytes for r in self._requants.values())

    def values(self, x: np.ndarray) -> tuple[Values, Values]:
        """Compute ({value: codes}, {value: floats}); a value may have both."""
        return self._run(x, self.program.operations)

    def codes(self, x: np.ndarray, operations: Sequence[IntegerOperation] | None = None) -> Values:
        """Compute {value: codes (n, ...)}; operations: the first few of the program's, by default all."""
        return self._run(x, self.program.operations if operations is None else operations)[0]

    def _run(self, x, operations) -> tuple[Values, Values]:
        codes: Values = {}
        floats: Values = {-1: x}
        for op in operations:
            match op:
                case Float():
                    assert self.evaluate_node is not None
                    floats[op.y] = self.evaluate_node(op.y, floats)
                case Quantise():
                    codes[op.y] = self._quantised(op, floats[op.x])
                case Dequantise():
                    floats[op.y] = _dequantised(codes[op.x], op.quant)
                case _:
                    codes[op.y] = self._on_codes(op, codes)
        return codes, floats

    def _on_codes(self, op, codes):
        match op:
            case IntegerProduct():
                return self._product(op, codes[op.x], None if op.added is None else codes[op.added])
            case MaxPool():
                return self._max_pooled(op, codes[op.x])
            case Mean():
                return self._mean(op, codes[op.x])
            case Add():
                return _added(op.requant, codes[op.x], codes[op.added])
            case Clip():
                return np.clip(codes[op.x], *map(self.program.dtype.type, (op.low, op.high)))
            case Reshape():
                return codes[op.x].reshape(-1, *self.program.shapes[op.y])
            case Move():
                return self._moved(op, codes[op.x], codes.get(op.y))
        raise TypeError(op)

    def _quantised(self, op: Quantise, x):
        y, q = np.empty(x.shape, self.program.dtype), op.quant
        code_ops.quantise(x.reshape(*x.shape[:2], -1), op.reciprocal, q.zero, q.low, q.high, _by_place(y))
        return y

    def _product(self, op: IntegerProduct, x, added):
        sums = product(x, self._weights[op.y], op.geometry, op.padding_code)
        r, rows = self._requants[op.y], (-1, *[1] * (sums.ndim - 2))
        y = requantise(sums, r.multiplier.reshape(rows), r.offset.reshape(rows), r.shift, r.low, r.high, added,
                       r.added_multiplier, r.added_shift)
        return y.astype(np.int32 if self.program.is_wide(op.y) else self.program.dtype)

    def _max_pooled(self, op: MaxPool, x):
        w = op.windows
        y = np.empty((*x.shape[:2], *w.output_size), self.program.dtype)
        code_ops.max_pool(_by_place(x), w.origins, w.heights, w.widths, *w.step, _by_place(y))
        return y

    def _mean(self, op: Mean, x):
        w, r = op.windows, op.requant
        y = np.empty((*x.shape[:2], *w.output_size), self.program.dtype)
        code_ops.mean(_by_place(x), w.origins, w.heights, w.widths, *w.step, r.multiplier, r.offset, r.shift, r.low,
                      r.high, _by_place(y))
        return y.reshape(-1, *self.program.shapes[op.y])

    def _moved(self, op: Move, x, y):
        if y is None:                               # the first part of its output
            y = np.full((len(x), *self.program.shapes[op.y]), op.fill or 0, self.program.dtype)
        y[(slice(None), *op.target)] = x[(slice(None), *op.source)]
        return y


def _added(r: Requant, x, added):
    y = np.empty_like(x)
    code_ops.add(x, added, r.multiplier[0], r.offset[0], r.shift, r.low, r.high, r.added_multiplier, r.added_shift, y)
    return y


def _dequantised(codes, quant: Quant):
    y = np.empty(codes.shape, np.float32)
    code_ops.dequantise(_by_place(codes), quant.zero, quant.scale, y.reshape(*y.shape[:2], -1))
    return y


def _max_code(quant):
    return max(-quant.low, quant.high)


def _by_place(codes):
    """View codes (n, c, ...) as (n, places, c)."""
    return codes.reshape(*codes.shape[:2], -1).transpose(0, 2, 1)
