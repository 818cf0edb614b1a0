"""Where each value of a program lies in C, in elements; some operations overwrite what they read last."""
import math
from dataclasses import dataclass

from tinyq.packed.integer.arena import Life, offsets
from tinyq.packed.integer.program import Add, Clip, Product, Program, Reshape

# What an operation may overwrite: each element of its output depends on the same one there, and on no other.
OVERWRITTEN = {Add: ("x", "added"), Clip: ("x",), Product: ("added",)}


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
