"""Place values in one block of memory: two that are needed at the same time never overlap."""
import math
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from tinyq.packed.integer.program import IntegerOperation, IntegerProgram

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Lifetime:
    """Interval of operations, by index, from the first that writes a value to the last that reads or writes it."""

    first: int
    last: int

    def overlaps(self, other: "Lifetime") -> bool:
        """Return whether both are needed at some time."""
        return self.first <= other.last and other.first <= self.last

    def joined(self, other: "Lifetime") -> "Lifetime":
        """Return the lifetime of a place that two values share."""
        return Lifetime(min(self.first, other.first), max(self.last, other.last))


def lifetimes(operations: Iterable[IntegerOperation], result: int) -> dict[int, Lifetime]:
    """Return {value: lifetime of its codes}; the result lives until after the last operation."""
    lives: dict[int, Lifetime] = {}
    end = 0
    for end, op in enumerate(operations, 1):
        now = Lifetime(end - 1, end - 1)
        for value in (*op.writes, *op.reads):
            lives[value] = lives.get(value, now).joined(now)
    if result in lives:
        lives[result] = lives[result].joined(Lifetime(end, end))
    return lives


@dataclass(frozen=True)
class Arena:
    """Offset of each value in a block, and the block's size."""

    offsets: dict[int, int]
    size: int


def offsets(sizes: Mapping[Name, int], lives: Mapping[Name, Lifetime]) -> dict[Name, int]:
    """Return where each value begins: place the largest first, each in the lowest gap free during its lifetime."""
    placed: dict[Name, int] = {}
    for name in sorted(sizes, key=lambda name: (-sizes[name], lives[name].first)):
        start = 0
        neighbours = sorted((at, sizes[other]) for other, at in placed.items() if lives[name].overlaps(lives[other]))
        for at, size in neighbours:
            if at - start >= sizes[name]:
                break
            start = max(start, at + size)
        placed[name] = start
    return placed


def batch_arena(program: IntegerProgram, n: int, alignment: int) -> Arena:
    """Place the codes of a batch of n samples; offsets and size in bytes."""
    lives = lifetimes(program.operations, program.result)
    sizes = {value: -(-bytes_per_sample(program, value) * n // alignment) * alignment for value in lives}
    places = offsets(sizes, lives)
    return Arena(places, max((places[value] + size for value, size in sizes.items()), default=0))


def bytes_per_sample(program: IntegerProgram, value: int) -> int:
    """Return the bytes that a value's codes take per sample."""
    size = 4 if program.is_wide(value) else program.dtype.itemsize
    return math.prod(program.shapes[value]) * size
