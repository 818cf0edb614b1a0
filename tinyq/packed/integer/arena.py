"""Where values lie in one block of memory: two that are needed at once never overlap."""
import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from tinyq.packed.integer.program import Add, Float, Product, Program


@dataclass(frozen=True)
class Life:
    """`size` elements, from the operation `first` that writes them to `last`, the last that reads them."""

    size: int
    first: int
    last: int

    def meets(self, other) -> bool:
        """Whether both are needed at some time."""
        return self.first <= other.last and other.first <= self.last


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


def batch_offsets(program: Program, n: int, alignment: int) -> tuple[dict[int, int], int]:
    """({value: offset in bytes}, bytes of all) of the codes of batches of n samples."""
    lives = {value: Life(-(-bytes_of(program, value) * n // alignment) * alignment, *span)
             for value, span in _spans(program).items()}
    places = offsets(lives)
    return places, max((places[value] + life.size for value, life in lives.items()), default=0)


def _spans(program):
    """{value with codes: (the operation that first writes it, the last that touches it)}."""
    spans = {}
    for i, op in enumerate(program.operations):
        if not isinstance(op, Float):
            read = [op.x, op.added] if isinstance(op, Product | Add) else [op.x]
            for value in (op.y, *read):
                if value in program.quants:
                    spans[value] = (spans.get(value, (i, i))[0], i)
    if program.result in spans:
        spans[program.result] = (spans[program.result][0], len(program.operations))
    return spans


def bytes_of(program: Program, value: int) -> int:
    """Of the codes of one sample."""
    size = 4 if program.is_wide(value) else program.dtype.itemsize
    return math.prod(program.shapes[value]) * size
