"""Place the values and the scratch memory of a program in one block; some operations overwrite a value they read."""
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tinyq.errors import UsageError
from tinyq.packed.c.c_convolution import MOST_LISTED, MOST_WORDS, Convolution, block_of, fuse, plan, reach
from tinyq.packed.integer.arena import Lifetime, offsets
from tinyq.packed.integer.program import CodeOperation, IntegerProduct, IntegerProgram, Reshape

ALIGN = 4
ALLOWED = 1.25                          # times the memory that values alone need
SCRATCH = ("plane", "work")
TABLED = ("b1", "b2", "b4")             # schemes that are multiplied by tables

Operation = CodeOperation | Convolution


@dataclass(frozen=True)
class Memory:
    """Operations, offset in bytes of each value and of the scratch memory of operations, and the block's size."""

    operations: Sequence[Operation]
    values: dict[int, int]
    scratch: dict[int, list[int]]       # by index of the operation
    size: int


def place(operations: Sequence[CodeOperation], program: IntegerProgram, outside: Collection[int]) -> Memory:
    """Place the values of operations on codes; outside: values in other memory, the input and perhaps the result.

    Each convolution gets the largest stripe with which all fit in ALLOWED times the memory that the values alone need,
    or as little more as possible. UsageError where the rows of one stripe are too large for the runtime.
    """
    fused = fuse(operations, program)
    stripes = [_stripes(op) if isinstance(op, Convolution) else [] for op in fused]
    chosen = [replace(op, stripe=sizes[-1]) if isinstance(op, Convolution) else op
              for op, sizes in zip(fused, stripes, strict=True)]
    best = _placed(chosen, program, outside)
    budget = max(best.size, int(ALLOWED * _placed(operations, program, outside, scratch=False).size))
    for i, sizes in enumerate(stripes):
        for stripe in sizes[:-1]:
            op = chosen[i]
            assert isinstance(op, Convolution)
            larger = [*chosen[:i], replace(op, stripe=stripe), *chosen[i + 1:]]
            placed = _placed(larger, program, outside)
            if placed.size <= budget:
                chosen, best = larger, placed
                break
    return best


def _stripes(op: Convolution) -> list[int]:
    """Return the rows that a stripe may have, the most first: few enough for additions, where those are better."""
    sizes = list(_whole_blocks(op))
    spans = [reach(replace(op, stripe=stripe)) for stripe in sizes]
    most = MOST_LISTED if op.parts and spans[-1] <= MOST_LISTED else MOST_WORDS
    fitting = [stripe for stripe, span in zip(sizes, spans, strict=True) if span <= most]
    if not fitting:
        g = op.product.geometry
        assert g is not None
        image, kernel = (" x ".join(map(str, shape[1:])) for shape in (g.x_shape, g.w_shape))
        raise UsageError(f"the C runtime cannot convolve an image of {image} by kernels of {kernel}: the rows under a "
                         f"kernel take more than {MOST_WORDS} words; use smaller images or fewer channels")
    return fitting


def _whole_blocks(op: Convolution) -> Iterator[int]:
    block = block_of(op)
    stripe = op.out_height
    while stripe > block:
        yield stripe
        stripe = -(-stripe // 2 // block) * block if stripe // 2 > block else block
    yield stripe


def _placed(operations, program, outside, scratch=True):
    """Place values and scratch memory. Operation i reads from time 2 i and writes until 2 i + 1."""
    alive = _lifetimes(operations, program.end)
    home: dict[int, int] = {}                       # of values that share a place, the first
    lives: dict[tuple[str, int], Lifetime] = {}
    sizes: dict[tuple[str, int], int] = {}
    itemsize = program.dtype.itemsize
    for i, op in enumerate(operations):
        if scratch:
            for name, life, size in scratch_of(op, i, itemsize):
                lives[name, i], sizes[name, i] = life, size
        if op.y in home or op.y in outside:         # a value of several parts already has its place
            continue
        first = home[op.y] = _find_home(op, i, home, lives)
        if first not in outside:
            value = "value", first
            lives[value] = lives.get(value, alive[op.y]).joined(alive[op.y])
            sizes.setdefault(value, -(-math.prod(program.shapes[first]) * itemsize // ALIGN) * ALIGN)
    at = offsets(sizes, lives)
    return Memory(operations, {value: at["value", first] for value, first in home.items() if ("value", first) in lives},
                  {i: [at[name, i] for name in SCRATCH if (name, i) in at] for i in range(len(operations))},
                  max((at[name] + size for name, size in sizes.items()), default=0))


def _lifetimes(operations: Sequence[Operation], result: int) -> dict[int, Lifetime]:
    """Return {value: lifetime of its codes}; the result lives until after the last operation."""
    lives: dict[int, Lifetime] = {}
    for i, op in enumerate(operations):
        copied = isinstance(op, Convolution) and op.copies_input
        for value in op.reads:
            last = 2 * i if copied and value not in op.overwritable else 2 * i + 1
            lives[value] = lives.get(value, Lifetime(2 * i, last)).joined(Lifetime(2 * i, last))
        now = Lifetime(2 * i + 1 if copied else 2 * i, 2 * i + 1)
        lives[op.y] = lives.get(op.y, now).joined(now)
    if result in lives:
        lives[result] = lives[result].joined(Lifetime(2 * len(operations), 2 * len(operations)))
    return lives


def scratch_of(op: Operation, i: int, itemsize: int) -> Iterator[tuple[str, Lifetime, int]]:
    """Yield the name, lifetime and bytes of each piece of scratch memory that operation i needs."""
    always = Lifetime(2 * i, 2 * i + 1)
    if isinstance(op, Convolution):
        planned = plan(op, itemsize)
        yield "plane", always, planned.plane
        yield "work", Lifetime(2 * i + 1, 2 * i + 1) if op.copies_input else always, planned.work
    elif isinstance(op, IntegerProduct):
        assert op.tensor is not None
        if op.tensor.scheme in TABLED:
            yield "work", always, 4 * op.tensor.rows
        elif op.tensor.levels is not None:
            yield "work", always, -(-op.tensor.k // ALIGN) * ALIGN


def _find_home(op: Operation, i: int, home: Mapping[int, int], lives: Mapping[tuple[str, int], Lifetime]) -> int:
    """Return the value whose place the output takes: its own, or one that is read here for the last time."""
    if isinstance(op, Reshape):
        return home.get(op.x, op.x)
    read = [home.get(value) for value in op.reads]
    for value in op.overwritable:
        candidate = home.get(value)
        if candidate is None or ("value", candidate) not in lives:      # it lies outside
            continue
        if lives["value", candidate].last == 2 * i + 1 and read.count(candidate) == 1:
            return candidate
    return op.y
