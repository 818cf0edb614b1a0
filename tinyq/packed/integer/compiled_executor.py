"""Run the integer program with the compiled kernels: codes lie as (n, places, channels) in one arena."""
from collections.abc import Callable

import numpy as np

from tinyq.kernels.integer import code_ops, integer_product
from tinyq.packed.integer.arena import batch_arena
from tinyq.packed.integer.numpy_executor import EvaluateNode
from tinyq.packed.integer.product_weights import (
    ALIGNMENT,
    ProductWeights,
    channels_and_places,
    overread_bytes,
    product_fields,
)
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
    Reshape,
)


class CompiledExecutor:
    """A function from a batch (n, ...) float32 to the logits; gives the bits of NumpyExecutor."""

    def __init__(self, program: IntegerProgram, evaluate_node: EvaluateNode | None):
        """Pack the weights; evaluate_node(number, floats) computes a float32 node from the values it reads."""
        self.weights = {op.y: ProductWeights(op, program.dtype.itemsize) for op in program.products}
        self.program, self.evaluate_node = program.without_weights(), evaluate_node
        self._run: BatchRun | None = None

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Compute the logits (n, classes), float32."""
        return self.run(x).result()

    def run(self, x: np.ndarray) -> "BatchRun":
        """Compute every operation; return the buffers, which the next call may overwrite."""
        n, threads = len(x), code_ops.threads()
        if self._run is None or (self._run.n, self._run.threads) != (n, threads):   # buffers for one size at a time
            self._run = BatchRun(self.program, self.weights, self.evaluate_node, n, threads)
        self._run(np.ascontiguousarray(x, np.float32))
        return self._run

    @property
    def resident_bytes(self) -> int:
        """Bytes of the weights and the per-row numbers as the kernels read them."""
        return sum(weights.nbytes for weights in self.weights.values())


class BatchRun:
    """The program for one batch size: its buffers, and each operation as a function without arguments."""

    def __init__(self, program: IntegerProgram, weights: dict[int, ProductWeights],
                 evaluate_node: EvaluateNode | None, n: int, threads: int):
        """Allocate the buffers and prepare the calls."""
        self.program, self.evaluate_node, self.n, self.threads = program, evaluate_node, n, threads
        places = batch_arena(program, n, ALIGNMENT)
        behind = max((overread_bytes(program.shapes[op.x], program.dtype.itemsize) for op in program.products),
                     default=integer_product.SLACK)
        self.arena = np.empty(places.size + behind + ALIGNMENT, np.uint8)
        self.start = -self.arena.ctypes.data % ALIGNMENT
        self.codes = {value: self._view(value, at) for value, at in places.offsets.items()}
        self.floats: dict[int, np.ndarray] = {}             # values of the last batch in float32
        self.products = self._with_scratch({op.y: self._fields(op, weights[op.y]) for op in program.products})
        self.calls = [self._call(op) for op in program.operations]

    def __call__(self, x: np.ndarray) -> None:
        """Run every operation on a batch (n, ...)."""
        self.floats = {-1: x}
        for call in self.calls:
            call()

    def result(self) -> np.ndarray:
        """Return the logits."""
        result = self.program.result
        if result not in self.floats:
            self.floats[result] = self._dequantised(result, self.program.quants[result])
        return self.floats[result]

    def in_order(self, value: int) -> np.ndarray:
        """View the codes of a value as (n, c, h, w), or as (n, *shape); another value may have overwritten them."""
        shape, q = self.program.shapes[value], self.codes[value]
        if len(shape) == 3:
            return q.reshape(self.n, *shape[1:], shape[0]).transpose(0, 3, 1, 2)
        return q.transpose(0, 2, 1).reshape(self.n, *shape)

    def _view(self, value, at):
        """Return a value's codes (n, places, channels) in the arena."""
        channels, places = channels_and_places(self.program.shapes[value])
        dtype = np.dtype(np.int32) if self.program.is_wide(value) else self.program.dtype
        count = self.n * places * channels
        begin = self.start + at
        return self.arena[begin:begin + count * dtype.itemsize].view(dtype).reshape(self.n, places, channels)

    def _fields(self, op, weights):
        added = None if op.added is None else self.codes[op.added]
        return product_fields(op, weights, self.codes[op.x], added, self.codes[op.y])

    def _with_scratch(self, fields):
        """Give every product the same scratch memory, a part per thread."""
        size = max((f.scratch_bytes for f in fields.values()), default=0)
        self.scratch = np.empty(self.threads * size + ALIGNMENT, np.uint8)
        start = self.scratch.ctypes.data + -self.scratch.ctypes.data % ALIGNMENT
        return {value: f._replace(scratch=start, scratch_bytes=size) for value, f in fields.items()}

    def _call(self, op: IntegerOperation) -> Callable[[], object]:
        match op:
            case Float():
                return self._float(op)
            case Quantise():
                return self._quantise(op)
            case Dequantise():
                return self._dequantise(op)
            case IntegerProduct():
                fields = self.products[op.y]
                return lambda: integer_product.product(fields)
            case MaxPool():
                return self._max_pool(op)
            case Mean():
                return self._mean(op)
            case Add():
                return self._add(op)
            case Clip():
                x, y = self.codes[op.x], self.codes[op.y]
                low, high = map(self.program.dtype.type, (op.low, op.high))
                return lambda: np.clip(x, low, high, out=y)
            case Reshape():
                return self._reshape(op)
            case Move():
                return self._move(op)

    def _float(self, op: Float):
        evaluate = self.evaluate_node
        assert evaluate is not None

        def call():
            self.floats[op.y] = evaluate(op.y, self.floats)
        return call

    def _dequantise(self, op: Dequantise):
        def call():
            self.floats[op.y] = self._dequantised(op.x, op.quant)
        return call

    def _dequantised(self, value, quant: Quant):
        q = self.codes[value]
        y = np.empty((self.n, *self.program.shapes[value]), np.float32)
        code_ops.dequantise(q, quant.zero, np.float32(quant.scale), y.reshape(self.n, q.shape[2], q.shape[1]))
        return y

    def _quantise(self, op: Quantise):
        y, q = self.codes[op.y], op.quant
        if y.shape[1] == 1:                                 # one place: its channels are contiguous
            y = y.transpose(0, 2, 1)
        reciprocal, shape = np.float32(op.reciprocal), (self.n, y.shape[2], y.shape[1])
        return lambda: code_ops.quantise(
            np.ascontiguousarray(self.floats[op.x]).reshape(shape), reciprocal, q.zero, q.low, q.high, y)

    def _max_pool(self, op: MaxPool):
        x, y, w = self.codes[op.x], self.codes[op.y], op.windows
        return lambda: code_ops.max_pool(x, w.origins, w.heights, w.widths, *w.step, y)

    def _mean(self, op: Mean):
        x, y, w, r = self.codes[op.x], self.codes[op.y], op.windows, op.requant
        multiplier = r.multiplier.astype(np.int64)
        return lambda: code_ops.mean(x, w.origins, w.heights, w.widths, *w.step, multiplier, r.offset, r.shift, r.low,
                                     r.high, y)

    def _add(self, op: Add):
        r, (x, added, y) = op.requant, (self.codes[value].reshape(-1) for value in (op.x, op.added, op.y))
        multiplier, offset = int(r.multiplier[0]), int(r.offset[0])
        return lambda: code_ops.add(x, added, multiplier, offset, r.shift, r.low, r.high, r.added_multiplier,
                                    r.added_shift, y)

    def _reshape(self, op: Reshape):
        x, y = self.in_order(op.x), self.in_order(op.y)
        buffer = np.empty(x.shape, self.program.dtype)

        def call():
            buffer[...] = x
            y[...] = buffer.reshape(y.shape)
        return call

    def _move(self, op: Move):
        x, y = self.in_order(op.x)[(slice(None), *op.source)], self.in_order(op.y)
        target = y[(slice(None), *op.target)]

        def call():
            if op.fill is not None:
                y[...] = op.fill
            target[...] = x
        return call
