"""Translate the operations of a program to calls of the C runtime, with the constants they need."""
import math
from collections.abc import Callable, Sequence

from tinyq.errors import UsageError
from tinyq.packed.c import constants
from tinyq.packed.c.c_convolution import Convolution, is_binary, plan
from tinyq.packed.c.c_names import layer_names
from tinyq.packed.c.constants import MAX_AXES, Constants
from tinyq.packed.c.placement import TABLED, Memory, Operation
from tinyq.packed.file.graph import Node
from tinyq.packed.integer.program import (
    Add,
    Clip,
    IntegerProduct,
    IntegerProgram,
    MaxPool,
    Mean,
    Move,
    Requant,
    Reshape,
)


class Body:
    """Lines of C in `calls`, the constants that they name, and the C name of each layer."""

    def __init__(self, program: IntegerProgram, memory: Memory, nodes: Sequence[Node], place: Callable[[int], str]):
        """Translate the placed operations; place(value): the C expression of a value's address."""
        self.program, self.place, self.constants = program, place, Constants()
        self.calls: list[str] = []
        self._suffix = "u8" if program.dtype.itemsize == 1 else "i16"
        self.layers = layer_names(_label(op, nodes) for op in memory.operations)
        for i, (op, layer) in enumerate(zip(memory.operations, self.layers, strict=True)):
            self.calls += [f"TINYQ_LAYER_HOOK({i}); /* {layer} */"]
            self.constants.layer = layer
            self._translate(op, [f"arena + {at}" for at in memory.scratch[i]])
        self.calls.append(f"TINYQ_LAYER_HOOK({len(self.layers)});")
        if not program.is_wide(program.end):
            self._call("widen", place(program.end), "output", self._count(program.end))

    def _translate(self, op: Operation, scratch: list[str]):
        x, y = self.place(op.x), self.place(op.y)
        match op:
            case IntegerProduct():
                assert op.tensor is not None
                kernel = "table_linear" if op.tensor.scheme in TABLED else "linear"
                linear = self.constants.structure("tinyq_linear", self._product(op, decoded=kernel == "linear"))
                self._call(kernel, linear, x, self._added(op), y, *(scratch or ["NULL"]))
            case Convolution():
                self._convolution(op, scratch)
            case MaxPool():
                self._call("max", self._windows(op), x, y)
            case Mean():
                requant = self._requant(op.requant)
                self._call("mean", self._windows(op), requant, x, y)
            case Add():
                self._call("add", self._requant(op.requant), x, self.place(op.added), y, self._count(op.y))
            case Clip():
                self._call("clip", op.low, op.high, x, y, self._count(op.y))
            case Move():
                self._move(op)
            case Reshape():
                pass                                        # the codes stay where they are

    def _call(self, function, *arguments):
        self.calls.append(f"tinyq_{function}_{self._suffix}({', '.join(map(str, arguments))});")

    def _count(self, value):
        return math.prod(self.program.shapes[value])

    def _product(self, op: IntegerProduct, stored=True, decoded=True):
        return {"weights": constants.weights(self.constants, op, stored, decoded),
                "requant": constants.requant(self.constants, op.requant), "wide": int(self.program.is_wide(op.y))}

    def _added(self, op: IntegerProduct):
        return "NULL" if op.added is None else self.place(op.added)

    def _convolution(self, op: Convolution, scratch):
        planned = plan(op, self.program.dtype.itemsize)
        kernel = "conv" if not planned.parts else "binary_conv" if is_binary(op.product) else "listed_conv"
        product = self._product(op.product, kernel != "listed_conv", kernel == "conv")
        members = {"product": product, **constants.convolution(self.constants, op, planned)}
        self._call(kernel, self.constants.structure("tinyq_conv", members),
                   self.place(op.x), self._added(op.product), self.place(op.y), *scratch)

    def _windows(self, op: MaxPool | Mean):
        channels, *plane = self.program.shapes[op.x]
        members = constants.windows(self.constants, op.windows, channels, math.prod(plane))
        return self.constants.structure("tinyq_windows", members)

    def _requant(self, requant: Requant):
        return self.constants.structure("tinyq_requant", constants.requant(self.constants, requant), "requant")

    def _move(self, op: Move):
        if op.fill is not None:
            self._call("fill", op.fill, self.place(op.y), self._count(op.y))
        members = constants.move(op, self.program.shapes[op.x], self.program.shapes[op.y])
        if members is None:
            raise UsageError(f"the C runtime moves blocks of at most {MAX_AXES} axes; node {op.y} needs more")
        self._call("move", self.constants.structure("tinyq_move", members), self.place(op.x), self.place(op.y))


def _label(op: Operation, nodes: Sequence[Node]) -> str:
    """Return the name of a product's weights, of another operation its kind."""
    product = op.product if isinstance(op, Convolution) else op
    node = nodes[product.y]
    return node.weight.name if node.weight and isinstance(product, IntegerProduct) else node.operation
