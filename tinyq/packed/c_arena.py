"""Where each value of a program lies in one block of memory: two that are needed at once never overlap."""
import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from tinyq.packed.program import Add, Clip, Product, Program, Reshape

# What an operation may overwrite: each element of its output depends on the same one there, and on no other.
OVERWRITTEN = {Add: ("x", "added"), Clip: ("x",), Product: ("added",)}


@dataclass(frozen=True)
class Life:
    """`size` elements, from the operation `first` that writes them to `last`, the last that reads them."""

    size: int
    first: int
    last: int

    def meets(self, other) -> bool:
        """Whether both are needed at some time."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Arena:
    """places: of each value that is in the block, its first element; size: of the block."""

    places: dict[int, int]
    size: int


def arena(operations, program: Program, outside) -> Arena:
    """For operations on codes; outside: the values that lie elsewhere, the input and maybe the result."""
    last = _last_reads(operations, program.result)
    home, lives = {}, {}                            # home: of values in one place, the first
    for i, op in enumerate(operations):
        if op.y in home or op.y in outside:         # the later parts of a value; the result
            continue
        first = home[op.y] = _home(op, i, home, lives)
        if first not in outside:
            life = lives.get(first, Life(math.prod(program.shapes[op.y]), i, i))
            lives[first] = Life(life.size, life.first, max(life.last, last.get(op.y, i)))
    at = offsets(lives)
    return Arena({value: at[first] for value, first in home.items() if first in lives},
                 max((at[first] + life.size for first, life in lives.items()), default=0))


def offsets(lives: Mapping[Hashable, Life]) -> dict[Hashable, int]:
    """Where each begins: the largest first, each at the lowest place that those alive with it leave free."""
    placed = {}
    for name, life in sorted(lives.items(), key=lambda item: (-item[1].size, item[1].first)):
        start = 0
        for at, size in sorted((at, lives[other].size) for other, at in placed.items() if life.meets(lives[other])):
            if at - start >= life.size:
                break
            start = max(start, at + size)
        placed[name] = start
    return placed


def _last_reads(operations, result):
    """{value: the last operation that reads it, by any of its names}; the result is read after them all."""
    last = {result: len(operations)}
    for i, op in reversed(list(enumerate(operations))):
        for a in _reads(op):
            last[a] = max(last.get(a, i), last.get(op.y, i) if isinstance(op, Reshape) else i)
    return last


def _reads(op):
    return [a for a in (op.x, getattr(op, "added", None)) if a is not None]


def _home(op, i, home, lives):
    """The value whose place the operation's output takes: its own, or one that is read here for the last time."""
    if isinstance(op, Reshape):
        return home.get(op.x, op.x)
    read = [home.get(a) for a in _reads(op)]
    for name in OVERWRITTEN.get(type(op), ()):
        a = home.get(getattr(op, name))
        if a in lives and lives[a].last == i and read.count(a) == 1:
            return a
    return op.y
