"""The integer program with the compiled kernels: codes lie as (n, places, channels) in one arena."""
import math

import numpy as np

from tinyq.kernels.integer import code_ops, integer_product
from tinyq.kernels.integer.integer_levels import even_levels, pack_levels
from tinyq.packed.integer.arena import batch_offsets
from tinyq.packed.integer.numpy_executor import integer_levels
from tinyq.packed.integer.program import Product, Program

ALIGNMENT = 64


class FastNetwork:
    """A function of a batch (n, ...) float32; the same bits as PlainNetwork's."""

    def __init__(self, program: Program, evaluate_node):
        """evaluate_node(number, floats): the output of a node that stays float, of those it reads."""
        self._levels = {op.y: _Levels(op, program) for op in program.operations if isinstance(op, Product)}
        self.program, self.evaluate_node = program.without_weights(), evaluate_node
        self._run = None

    def __call__(self, x):
        """The logits (n, classes), float32."""
        return self.run(x).result()

    def run(self, x):
        """Compute every operation; returns the buffers, which the next call may overwrite."""
        state = len(x), code_ops.threads()
        if self._run is None or self._run.state != state:       # one batch size at a time: each has its own buffers
            self._run = _Run(self, state)
        self._run(np.ascontiguousarray(x, np.float32))
        return self._run

    def codes(self, value: int):
        """A value's codes (n, *shape) as the last batch left them, if nothing has taken their place."""
        return self._run.in_order(value)

    @property
    def resident_bytes(self) -> int:
        """Of the weights and of the numbers of each row, as the kernels read them."""
        return sum(levels.bytes for levels in self._levels.values())


class _Levels:
    """A product's weights and requantisation as the kernels take them."""

    def __init__(self, op, program):
        levels = integer_levels(op)
        groups = 1 if op.geometry is None else op.geometry.groups
        if op.geometry is not None:                                         # as rows are gathered: (kh, kw, c)
            levels = levels.transpose(0, 2, 3, 1)
        levels = np.ascontiguousarray(levels).reshape(len(levels), -1)
        self.size = program.dtype.itemsize
        self.packed, self.table, self.bits, self.steps, self.halves = pack_levels(levels, groups, self.size)
        self.least, self.step = even_levels(self.table, self.bits, self.steps)
        per_group = self.packed.shape[1] * integer_product.NR
        self.multiplier = _by_panels(op.requant.multiplier, groups, per_group)
        self.offset = _by_panels(op.requant.offset, groups, per_group)
        self.bytes = sum(a.nbytes for a in (self.packed, self.table, self.multiplier, self.offset))


def _by_panels(values, groups, per_group):
    padded = np.zeros((groups, per_group), values.dtype)
    padded[:, :len(values) // groups] = values.reshape(groups, -1)
    return padded


class _Run:
    """The program for one batch size: buffers and the arguments of every kernel, worked out once."""

    def __init__(self, network, state):
        self.network, self.program, self.state = network, network.program, state
        n, threads = state
        self.n = n
        places, size = batch_offsets(self.program, n, ALIGNMENT)
        self.arena = np.empty(size + self._read_behind() + ALIGNMENT, np.uint8)
        self.start = -self.arena.ctypes.data % ALIGNMENT
        self.codes = {value: self._codes(value, at) for value, at in places.items()}
        self.floats = {}                                        # the last batch's values in float32
        products = [self._product_fields(op) for op in self.program.operations if isinstance(op, Product)]
        size = max((f.scratch_bytes for f in products), default=0)
        self.scratch = np.empty(threads * size + ALIGNMENT, np.uint8)
        scratch = self.scratch.ctypes.data + -self.scratch.ctypes.data % ALIGNMENT
        fields = iter([f._replace(scratch=scratch, scratch_bytes=size) for f in products])
        self.calls = [getattr(self, f"_{type(op).__name__.lower()}")(op, fields) for op in self.program.operations]

    def __call__(self, x):
        self.floats = {-1: x}
        for call in self.calls:
            call()

    def result(self):
        """The logits."""
        result = self.program.result
        if result not in self.floats:
            self.floats[result] = self._floats_of(result, self.program.quants[result])
        return self.floats[result]

    def _read_behind(self):
        """Bytes behind the last value that kernels may read: whole vectors, and whole tiles of rows read in place."""
        rows = [_sizes(self.program.shapes[op.x])[0] for op in self.program.operations if isinstance(op, Product)]
        return integer_product.SLACK + integer_product.MR * max(rows, default=0) * self.program.dtype.itemsize

    def _codes(self, value, at):
        """The value's codes (n, places, channels) in the arena."""
        channels, places = _sizes(self.program.shapes[value])
        dtype = np.dtype(np.int32) if self.program.is_wide(value) else self.program.dtype
        count = self.n * places * channels
        begin = self.start + at
        return self.arena[begin:begin + count * dtype.itemsize].view(dtype).reshape(self.n, places, channels)

    def _floats_of(self, value, quant):
        q = self.codes[value]
        y = np.empty((self.n, *self.program.shapes[value]), np.float32)
        code_ops.dequantise(q, quant.zero, np.float32(quant.scale), y.reshape(self.n, q.shape[2], q.shape[1]))
        return y

    def _float(self, op, fields):
        def call():
            self.floats[op.y] = self.network.evaluate_node(op.y, self.floats)
        return call

    def _quantise(self, op, fields):
        y, q = self.codes[op.y], op.quant
        if y.shape[1] == 1:                                     # one place: its channels are a run
            y = y.transpose(0, 2, 1)
        reciprocal, shape = np.float32(op.reciprocal), (self.n, y.shape[2], y.shape[1])
        return lambda: code_ops.quantise(
            np.ascontiguousarray(self.floats[op.x]).reshape(shape), reciprocal, q.zero, q.low, q.high, y)

    def _dequantise(self, op, fields):
        def call():
            self.floats[op.y] = self._floats_of(op.x, op.quant)
        return call

    def _product(self, op, fields):
        f = next(fields)
        return lambda: integer_product.product(f)

    def _maxpool(self, op, fields):
        arguments = self.codes[op.x], *_windows(op.windows), self.codes[op.y]
        return lambda: code_ops.max_pool(*arguments)

    def _mean(self, op, fields):
        r = op.requant
        arguments = (self.codes[op.x], *_windows(op.windows), r.multiplier.astype(np.int64), r.offset, r.shift, r.low,
                     r.high, self.codes[op.y])
        return lambda: code_ops.mean(*arguments)

    def _add(self, op, fields):
        r = op.requant
        arguments = (self.codes[op.x].reshape(-1), self.codes[op.added].reshape(-1), int(r.multiplier[0]),
                     int(r.offset[0]), r.shift, r.low, r.high, r.added_multiplier, r.added_shift,
                     self.codes[op.y].reshape(-1))
        return lambda: code_ops.add(*arguments)

    def _clip(self, op, fields):
        x, y, low = self.codes[op.x], self.codes[op.y], self.program.dtype.type(op.low)
        return lambda: np.maximum(x, low, out=y)

    def _reshape(self, op, fields):
        x, y = (self.in_order(value) for value in (op.x, op.y))
        between = self.in_order(op.x).shape
        room = np.empty(between, self.program.dtype)

        def call():
            room[...] = x
            y[...] = room.reshape(y.shape)
        return call

    def _move(self, op, fields):
        x, y = self.in_order(op.x)[(slice(None), *op.source)], self.in_order(op.y)
        part = y[(slice(None), *op.target)]

        def call():
            if op.fill is not None:
                y[...] = op.fill
            part[...] = x
        return call

    def in_order(self, value):
        """A value's codes as a view (n, c, h, w), or of whatever shape a sample has."""
        shape, q = self.program.shapes[value], self.codes[value]
        if len(shape) == 3:
            return q.reshape(self.n, *shape[1:], shape[0]).transpose(0, 3, 1, 2)
        return q.transpose(0, 2, 1).reshape(self.n, *shape)

    def _product_fields(self, op):
        """The arguments of one product; scratch comes later."""
        levels, x, y, r = self.network._levels[op.y], self.codes[op.x], self.codes[op.y], op.requant
        channels, _ = _sizes(self.program.shapes[op.x])
        outputs, _ = _sizes(self.program.shapes[op.y])
        g = op.geometry
        height, width = g.x_shape[2:] if g else (1, 1)
        rows, columns = g.output_size if g else (1, 1)
        taps, stride, padding, dilation = (g.w_shape[2:], g.stride, g.padding, g.dilation) if g else (((1, 1),) * 2
                                                                                     + ((0, 0), (1, 1)))
        groups = g.groups if g else 1
        size, pixels = self.program.dtype.itemsize, self.n * rows * columns
        few = g is None and pixels * 4 <= integer_product.MR
        coded = few and size == 1 and levels.bits < 8 and levels.halves == 1
        direct = taps == stride == (1, 1) and padding == (0, 0) and not coded
        pitch = -(-(levels.steps + 4) * 4 // ALIGNMENT) * ALIGNMENT
        blocks, parts, tiles = _split(pixels, levels.packed.shape[1], groups, pitch, direct)
        scratch = (2 * integer_product.SLACK + integer_product.MR * integer_product.NR * 4
                   + levels.steps * integer_product.NR * 4 * levels.halves + integer_product.SLACK * 8
                   + (0 if direct else tiles * integer_product.MR * pitch) + integer_product.SLACK)
        return integer_product.Fields(
            x=x.ctypes.data, y=y.ctypes.data, added=self.codes[op.added].ctypes.data if op.added is not None else 0,
            samples=self.n, height=height, width=width, channels=channels, rows=rows, columns=columns,
            taps_y=taps[0], taps_x=taps[1], stride_y=stride[0], stride_x=stride[1], top=padding[0], left=padding[1],
            dilation_y=dilation[0], dilation_x=dilation[1], groups=groups, group_channels=channels // groups,
            group_outputs=outputs // groups, outputs=outputs, size=size, result_size=y.itemsize, steps=levels.steps,
            padding=op.padding_code, panels=levels.packed.shape[1], halves=levels.halves,
            codes=levels.packed.ctypes.data, bits=levels.bits, panel_bytes=levels.packed.shape[2],
            table=levels.table.ctypes.data, least_level=levels.least, level_step=levels.step,
            multiplier=levels.multiplier.ctypes.data, offset=levels.offset.ctypes.data,
            shift=r.shift, low=r.low, high=r.high, added_multiplier=r.added_multiplier, added_shift=r.added_shift,
            direct=int(direct), coded=int(coded), pitch=pitch, blocks=blocks, parts=parts, scratch=0,
            scratch_bytes=-(-scratch // ALIGNMENT) * ALIGNMENT)


def _split(pixels, panels, groups, pitch, direct):
    """(blocks of tiles, parts of panels, tiles in a block at most) so that all threads have work."""
    threads = code_ops.threads()
    tiles = -(-pixels // integer_product.MR)
    most = tiles if direct else max(1, integer_product.MAX_GATHERED // (integer_product.MR * pitch))
    blocks = -(-tiles // most)
    if threads > 1 and blocks * groups % threads:
        if tiles >= 4 * threads:
            blocks = -(-blocks // threads) * threads
        else:
            parts = min(panels, -(-threads // (blocks * groups)))
            return blocks, parts, -(-tiles // blocks)
    return blocks, 1, -(-tiles // blocks)


def _windows(windows):
    return (windows.origins, windows.heights, windows.widths, *windows.step)


def _sizes(shape):
    """(channels, places) of a sample."""
    return (shape[0], math.prod(shape[1:])) if len(shape) == 3 else (math.prod(shape), 1)
