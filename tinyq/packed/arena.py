"""Where the codes of each value lie in one block of memory: values never needed at the same time share room."""
import math

from tinyq.packed.program import Add, Float, Product, Program


def offsets(program: Program, n: int, alignment: int) -> tuple[dict[int, int], int]:
    """({value: offset}, bytes of all) for batches of n; first fit, in the order of the operations."""
    places, size = {}, 0
    lives = _lives(program)
    for value in sorted(lives, key=lambda v: lives[v][0]):
        wanted = -(-_bytes(program, value) * n // alignment) * alignment
        taken = sorted((places[v], places[v] + -(-_bytes(program, v) * n // alignment) * alignment)
                       for v in places if lives[v][1] >= lives[value][0])
        at = 0
        for begin, end in taken:
            if begin - at >= wanted:
                break
            at = max(at, end)
        places[value], size = at, max(size, at + wanted)
    return places, size


def _lives(program):
    """{value with codes: (the operation that first writes it, the last that touches it)}."""
    lives = {}
    for i, op in enumerate(program.operations):
        if not isinstance(op, Float):
            read = [op.x, op.added] if isinstance(op, Product | Add) else [op.x]
            for value in (op.y, *read):
                if value in program.quants:
                    lives[value] = (lives.get(value, (i, i))[0], i)
    if program.result in lives:
        lives[program.result] = (lives[program.result][0], len(program.operations))
    return lives


def _bytes(program, value):
    size = 4 if program.is_wide(value) else program.dtype.itemsize
    return math.prod(program.shapes[value]) * size
