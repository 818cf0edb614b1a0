"""Where each value of a program lies in one block of memory: two that are needed at once never overlap."""
import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from tinyq.packed.program import Add, Clip, Product, Program, Reshape


@dataclass(frozen=True)
class Life:
    """`size` elements, from the operation `first` that writes them to `last`, the last that reads them."""

    size: int
    first: int
    last: int


def offsets(lives: Mapping[Hashable, Life]) -> dict[Hashable, int]:
    """Where each begins: the largest first, each at the lowest place that those alive with it leave free."""
    placed = {}
    for name, life in sorted(lives.items(), key=lambda item: (-item[1].size, item[1].first)):
        start = 0
        beside = [(at, lives[other].size) for other, at in placed.items() if _meet(life, lives[other])]
        for at, size in sorted(beside):
            if at - start >= life.size:
                break
            start = max(start, at + size)
        placed[name] = start
    return placed


def _meet(one, other):
    return one.first <= other.last and other.first <= one.last


@dataclass(frozen=True)
class Arena:
    """places: of each value that is in the block, its first element; size: of the block."""

    places: dict[int, int]
    size: int


def arena(operations, program: Program, outside) -> Arena:
    """For operations on codes; outside: the values that lie elsewhere, the input and maybe the result.

    A value takes the place of one that is read for the last time where it is made, if each of its elements depends on
    the same element there.
    """
    last = _last_reads(operations, program.result)
    home, lives = {}, {}                            # home: the first value of those in one place
    for i, op in enumerate(operations):
        if op.y not in home and op.y not in outside:
            first = home[op.y] = _home(op, i, home, lives)
            if first not in outside:
                until = last.get(op.y, i)
                life = lives.get(first, Life(math.prod(program.shapes[op.y]), i, i))
                lives[first] = Life(life.size, life.first, max(life.last, until))
    at = offsets(lives)
    return Arena({value: at[first] for value, first in home.items() if first in lives},
                 max((at[first] + life.size for first, life in lives.items()), default=0))


def reads(op) -> list[int]:
    """The values an operation reads."""
    return [a for a in (op.x, getattr(op, "added", None)) if a is not None]


def _last_reads(operations, result):
    """{value: the last operation that reads it, by any of its names}; the result is read after them all."""
    last = {result: len(operations)}
    for i, op in reversed(list(enumerate(operations))):
        for a in reads(op):
            until = last.get(op.y, i) if isinstance(op, Reshape) else i
            last[a] = max(last.get(a, i), until)
    return last


def _home(op, i, home, lives):
    if isinstance(op, Reshape):
        return home.get(op.x, op.x)
    overwritten = {Add: ("x", "added"), Clip: ("x",), Product: ("added",)}.get(type(op), ())
    for name in overwritten:
        a = home.get(getattr(op, name))
        others = [home.get(b) for b in reads(op)].count(a) > 1
        if a is not None and a in lives and lives[a].last == i and not others:
            return a
    return op.y
