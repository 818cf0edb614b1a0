"""Count what each layer of an export costs: multiply-accumulates, bytes of constants and of the arena."""
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinyq.packed.c.c_convolution import Convolution
from tinyq.packed.c.placement import Memory, Operation, scratch_of
from tinyq.packed.integer.program import Add, Clip, IntegerProduct, IntegerProgram, MaxPool, Mean, Move, Reshape

HEADER = ["layer", "operation", "output", "MACs", "flash bytes", "RAM bytes"]


@dataclass(frozen=True)
class LayerCost:
    """One layer. flash: bytes of constants, of shared ones for the first; ram: of the arena that it uses at once."""

    layer: str
    operation: str
    output: tuple[int, ...]
    macs: int
    flash: int
    ram: int


def layer_costs(memory: Memory, names: Sequence[str], program: IntegerProgram,
                flash: Mapping[str, int]) -> list[LayerCost]:
    """Return the costs of the operations; names: their C names; flash: bytes by name."""
    return [LayerCost(name, _kind(op), program.shapes[op.y], _macs(op), flash.get(name, 0), _ram(op, memory, program))
            for op, name in zip(memory.operations, names, strict=True)]


def table_rows(costs: Sequence[LayerCost]) -> list[list]:
    """Return rows for HEADER, the last with totals; RAM's is the largest."""
    rows: list[list] = [[c.layer, c.operation, " x ".join(map(str, c.output)), c.macs, c.flash, c.ram] for c in costs]
    return [*rows, ["all layers", "", "", sum(c.macs for c in costs), sum(c.flash for c in costs),
                    max((c.ram for c in costs), default=0)]]


def _macs(op: Operation) -> int:
    """Return the multiply-accumulates, those with weights of 0 and with padding included."""
    outputs, product = (op.out_height * op.out_width, op.product) if isinstance(op, Convolution) else (1, op)
    if not isinstance(product, IntegerProduct):
        return 0
    assert product.tensor is not None
    return product.tensor.rows * product.tensor.k * outputs


def _ram(op: Operation, memory: Memory, program: IntegerProgram) -> int:
    """Return the bytes in use before and after a convolution has copied its input, whichever are more."""
    copied, itemsize = isinstance(op, Convolution) and op.copies_input, program.dtype.itemsize
    added = op.overwritable
    first = {*op.reads} | (set() if copied else {op.y})
    second = {op.y, *added} if copied else first
    return max(_bytes(values, memory, program) + sum(
        size for _, life, size in scratch_of(op, 0, itemsize) if life.first <= time <= life.last)
        for time, values in enumerate((first, second)))


def _bytes(values, memory, program):
    """Return the bytes of values in the arena; those that share a place count once."""
    places: dict[int, int] = {}
    for value in values & memory.values.keys():
        at, size = memory.values[value], math.prod(program.shapes[value]) * program.dtype.itemsize
        places[at] = max(places.get(at, 0), size)
    return sum(places.values())


def _kind(op: Operation) -> str:
    match op:
        case Convolution():
            return "convolution" if op.pool == 1 else "convolution, max pool"
        case IntegerProduct():
            return "linear"
        case MaxPool():
            return "max pool"
        case Mean():
            return "mean"
        case Add():
            return "add"
        case Clip():
            return "clip"
        case Move():
            return "move"
        case Reshape():
            return "reshape"
