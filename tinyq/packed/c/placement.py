"""Place the values of a program in C memory, counted in elements; some operations overwrite a value they read."""
import math
from collections.abc import Collection, Mapping, Sequence

from tinyq.packed.integer.arena import Arena, Lifetime, lifetimes, offsets
from tinyq.packed.integer.program import CodeOperation, IntegerProgram, Reshape


def place(operations: Sequence[CodeOperation], program: IntegerProgram, outside: Collection[int]) -> Arena:
    """Place the values of operations on codes; outside: values in other memory, the input and perhaps the result."""
    alive = lifetimes(operations, program.end)
    home: dict[int, int] = {}                       # of values that share a place, the first
    lives: dict[int, Lifetime] = {}                 # of each place
    for i, op in enumerate(operations):
        if op.y in home or op.y in outside:         # a value of several parts already has its place
            continue
        first = home[op.y] = _find_home(op, i, home, lives)
        if first not in outside:
            lives[first] = lives.get(first, alive[op.y]).joined(alive[op.y])
    sizes = {first: math.prod(program.shapes[first]) for first in lives}
    at = offsets(sizes, lives)
    return Arena({value: at[first] for value, first in home.items() if first in lives},
                 max((at[first] + size for first, size in sizes.items()), default=0))


def _find_home(op: CodeOperation, i: int, home: Mapping[int, int], lives: Mapping[int, Lifetime]) -> int:
    """Return the value whose place the output takes: its own, or one that is read here for the last time."""
    if isinstance(op, Reshape):
        return home.get(op.x, op.x)
    read = [home.get(value) for value in op.reads]
    for value in op.overwritable:
        candidate = home.get(value)
        if candidate is None or candidate not in lives:     # it lies outside
            continue
        if lives[candidate].last == i and read.count(candidate) == 1:
            return candidate
    return op.y
