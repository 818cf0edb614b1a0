"""Decide how the C runtime computes a convolution: stripes, lanes, powers, and where its scratch memory lies."""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinyq.packed.integer.program import CodeOperation, IntegerProduct, IntegerProgram, MaxPool, integer_levels

Part = tuple[int, int, int]             # channels from, to; power of two
LANES = 4                               # outputs per word of the plane
ROWS = 3                                # rows of weights that are added together
ENDS = 27                               # uint16 in front of each listing
TILE = 4                                # words of the largest tile
CODES = 3                               # lists per uint16
MOST_OF_A_SIGN = 128                    # weights whose sum of codes fits 16 bits: 128 * 255 < 2^15
MORE = 2                                # times the bytes of codes that lists may take
MOST_WORDS = 1 << 16                    # of the plane that an output's weights can name, in uint16
MOST_LISTED = MOST_WORDS // 4           # that a listing can name, in bytes
# Instructions per output, measured on a Cortex-M4: per weight that is multiplied; per power, and per weight and power
# that are added.
MULTIPLYING, PER_POWER, ADDING = 1.9, 17.0, 0.4


def _list_of_signs():
    """Return tinyq_additions.c's list of each combination of three signs, by sign + 1."""
    table = np.full((3, 3, 3), ENDS - 1)
    groups = [(a, b, c) for a, b in ((1, 0), (0, 1), (1, 1), (1, -1)) for c in (1, 0, -1)] + [(0, 0, 1)]
    for group, signs in enumerate(groups):
        for sign, add in ((1, 0), (-1, 1)):
            table[tuple(sign * s + 1 for s in signs)] = 2 * group + add
    return table


LIST_OF_SIGNS = _list_of_signs()


@dataclass(frozen=True, eq=False)
class Convolution:
    """A product with a geometry, whose sums are pooled first.

    parts: of its sums by additions; none where multiplying is better. stripe: rows of outputs computed at a time.
    """

    product: IntegerProduct
    y: int
    pool: int
    parts: tuple[Part, ...]
    stripe: int

    @property
    def x(self) -> int:
        """The value whose codes are convolved."""
        return self.product.x

    @property
    def reads(self) -> tuple[int, ...]:
        """Values whose codes are read."""
        return self.product.reads

    @property
    def overwritable(self) -> tuple[int, ...]:
        """The added value."""
        return self.product.overwritable

    @property
    def copies_input(self) -> bool:
        """Return whether all of x is laid out before the first output is written."""
        assert self.product.geometry is not None
        return self.stripe >= self.out_height and self.product.geometry.groups == 1

    @property
    def out_height(self) -> int:
        """Rows of outputs before pooling that are used."""
        assert self.product.geometry is not None
        return self.product.geometry.output_size[0] // self.pool * self.pool

    @property
    def out_width(self) -> int:
        """Columns of outputs before pooling that are used."""
        assert self.product.geometry is not None
        return self.product.geometry.output_size[1] // self.pool * self.pool


@dataclass(frozen=True)
class Plan:
    """Members of tinyq_conv that say how; plane, work: bytes of scratch memory."""

    lane: int
    block: int                                  # rows of outputs summed at a time
    parts: tuple[Part, ...]                     # none: by multiplication
    sums_at: int
    plane: int
    work: int


def fuse(operations: Sequence[CodeOperation], program: IntegerProgram) -> list[CodeOperation | Convolution]:
    """Make a Convolution of each product with a geometry, with the max pooling that alone reads it."""
    pools: dict[int, MaxPool] = {op.x: op for op in operations if isinstance(op, MaxPool)}
    fused: list[CodeOperation | Convolution] = []
    for op in operations:
        if isinstance(op, IntegerProduct) and op.geometry is not None:
            pool = pools.get(op.y)
            size = 0 if pool is None or _readers(operations, op.y) > 1 or op.y == program.end else _size(op, pool)
            y = op.y if pool is None or not size else pool.y
            parts = _parts(op) if program.dtype.itemsize == 1 else ()
            fused.append(Convolution(op, y, size or 1, parts, op.geometry.output_size[0]))
        elif not (isinstance(op, MaxPool) and any(isinstance(f, Convolution) and f.y == op.y for f in fused)):
            fused.append(op)
    return fused


def _readers(operations, value):
    return sum(op.reads.count(value) for op in operations)


def _size(product, pool):
    """Return the side of windows that lie side by side from the first output on; 0 for others.

    The largest sum gives the largest code only where no multiplier is negative.
    """
    windows, (height, width) = pool.windows, product.geometry.output_size
    size = int(windows.heights[0])
    (down, across), origins = windows.output_size, windows.origins
    regular = (np.arange(down)[:, None] * size * width + np.arange(across) * size).ravel()
    fits = (windows.step == (width, 1) and (windows.heights == size).all() and (windows.widths == size).all()
            and (down, across) == (height // size, width // size) and np.array_equal(origins, regular))
    return size if fits and product.added is None and (product.requant.multiplier >= 0).all() else 0


def plan(op: Convolution, itemsize: int) -> Plan:
    """Lay out the scratch memory; itemsize: bytes per code."""
    tensor, lane, (rows, pitch) = op.product.tensor, _lane(op), _plane(op)
    assert tensor is not None and op.product.geometry is not None
    channels, kh, kw = op.product.geometry.w_shape[1:]
    plane, k = LANES * itemsize * channels * rows * pitch, channels * kh * kw
    parts = op.parts if reach(op) <= MOST_LISTED else ()
    if not parts:
        words = _up(2 * k if tensor.levels is None else 3 * k)
        return Plan(lane, op.pool, (), words, plane, words + 4 * LANES * lane * op.pool)
    listings = _up(2 * sum(ENDS + _words(op.product, part) * CODES for part in parts))
    block = block_of(op)                        # its sums take more than a part's lists of weights in bits
    return Plan(lane, block, parts, listings, plane, listings + ROWS * 4 * LANES * lane * block)


def _lane(op):
    return -(-op.out_width // LANES)


def _plane(op):
    """Return the rows of a channel of the plane, and the words of a row."""
    g = op.product.geometry
    kh, kw = g.w_shape[2:]
    return ((min(op.stripe, op.out_height) - 1) * g.stride[0] + (kh - 1) * g.dilation[0] + 1,
            (_lane(op) - 1) * g.stride[1] + (kw - 1) * g.dilation[1] + 1)


def reach(op: Convolution) -> int:
    """Return the words of the plane from the first to the last that an output reads."""
    g, (rows, pitch) = op.product.geometry, _plane(op)
    assert g is not None
    channels, kh, kw = g.w_shape[1:]
    return ((channels - 1) * rows + (kh - 1) * g.dilation[0]) * pitch + (kw - 1) * g.dilation[1] + 1


def block_of(op: Convolution) -> int:
    """Return the rows of outputs that are summed at a time: whole windows, and a tile of words if there are so many."""
    return -(-max(1, -(-TILE // _lane(op))) // op.pool) * op.pool


def is_binary(product: IntegerProduct) -> bool:
    """Return whether the codes of the weights are 0 and 1 for -1 and 1, in one bit."""
    tensor = product.tensor
    assert tensor is not None
    return tensor.scheme == "b1" and tensor.levels is not None and list(tensor.levels / product.unit) == [-1, 1]


def lists_of(op: Convolution, parts: Sequence[Part]) -> np.ndarray:
    """Return what tinyq_conv.lists holds, uint16: per three rows and part, the list of each input, five bits each."""
    assert op.product.geometry is not None
    g = op.product.geometry
    signs = _signs(integer_levels(op.product).reshape(g.groups, -1, *g.w_shape[1:]))
    missing = -signs.shape[2] % ROWS
    signs = np.pad(signs, ((0, 0), (0, 0), (0, missing), *[(0, 0)] * 3)) + 1
    threes = signs.reshape(len(signs), -1, ROWS, *g.w_shape[1:])
    lists = LIST_OF_SIGNS[threes[:, :, 0], threes[:, :, 1], threes[:, :, 2]].astype(np.uint32)  # (powers, n, c, kh, kw)
    packed = []
    for first, end, power in parts:
        part = lists[power, :, first:end].reshape(lists.shape[1], -1)
        part = np.pad(part, ((0, 0), (0, -part.shape[1] % CODES)), constant_values=ENDS - 1)
        part = part.reshape(len(part), -1, CODES)
        packed.append(part[..., 0] | part[..., 1] << 5 | part[..., 2] << 10)
    return np.concatenate(packed, axis=1).astype(np.uint16).ravel()


def _words(product, part):
    """Return how many uint16 hold the lists of a part."""
    first, end, _ = part
    return -(-(end - first) * int(np.prod(product.geometry.w_shape[2:])) // CODES)


def _up(size):
    return -(-size // 4) * 4


def _parts(product):
    """Return the parts whose sums fit 16 bits, as few as possible; none where multiplying is better."""
    g = product.geometry
    levels = integer_levels(product).reshape(-1, *g.w_shape[1:])
    signs = _signs(levels)
    powers, k, channels = len(signs), levels[0].size, g.w_shape[1]
    threes = g.groups * -(-len(levels) // g.groups // ROWS)
    costs = powers * (PER_POWER + ADDING * k) * threes * ROWS / len(levels)
    if not powers or costs > MULTIPLYING * k:
        return ()
    parts: list[Part] = []
    for power in range(powers):
        counts = [(signs[power] == sign).sum(axis=(2, 3)) for sign in (-1, 1)]        # (rows, channels)
        first = 0
        for end in range(1, channels + 1):
            if max(count[:, first:end].sum(axis=1).max() for count in counts) > MOST_OF_A_SIGN:
                if end - 1 == first:
                    return ()
                parts.append((first, end - 1, power))
                first = end - 1
        parts.append((first, channels, power))
    size = 2 * threes * sum(_words(product, part) for part in parts)
    return tuple(parts) if is_binary(product) or size <= MORE * product.tensor.data.nbytes else ()


def _signs(levels):
    """Return the nonadjacent form of integers: (powers, ...) of -1, 0, 1."""
    w = levels.astype(np.int64)
    half, total = w >> 1, w + (w >> 1)
    changed = half ^ total
    powers = int(np.bitwise_or.reduce(changed, axis=None)).bit_length()
    bits = np.arange(powers).reshape(-1, *[1] * w.ndim)
    return ((total & changed) >> bits & 1) - ((half & changed) >> bits & 1)
