"""The operations of a program as calls of the C runtime, with the constants they need."""
import math
import re

from tinyq.errors import UsageError
from tinyq.packed.c import constants
from tinyq.packed.c.constants import Constants

MAX_AXES = 3                           # of tinyq_move


class Body:
    """calls: lines of C, in order; levels, sums: elements of scratch memory they need, int8_t and int32_t."""

    def __init__(self, program, operations, nodes, place):
        """place(value): where a value lies, as C says it."""
        self.program, self.place, self.constants = program, place, Constants()
        self.calls, self.levels, self.sums = [], 0, 0
        self._suffix = "u8" if program.dtype.itemsize == 1 else "i16"
        for i, op in enumerate(operations):
            self.calls.append(f"/* {i}: {_told(nodes[op.y])} */")
            getattr(self, f"_{type(op).__name__.lower()}")(op, f"op_{i}")
        if not program.is_wide(program.result):
            self._call("widen", place(program.result), "output", self._count(program.result))

    def _call(self, function, *arguments):
        self.calls.append(f"tinyq_{function}_{self._suffix}({', '.join(map(str, arguments))});")

    def _count(self, value):
        return math.prod(self.program.shapes[value])

    def _product(self, op, name):
        product = {"weights": constants.weights(self.constants, op),
                   "requant": constants.requant(self.constants, op.requant), "wide": int(self.program.is_wide(op.y))}
        x, y, added = self.place(op.x), self.place(op.y), "NULL" if op.added is None else self.place(op.added)
        self.levels = max(self.levels, op.tensor.k)
        if op.geometry is None:
            self._call("linear", self.constants.structure("tinyq_linear", name, product), x, added, y, "levels")
        else:
            self.sums = max(self.sums, op.geometry.output_size[1])
            held = {"product": product, **constants.convolution(self.constants, op)}
            self._call("conv", self.constants.structure("tinyq_conv", name, held), x, added, y, "levels", "sums")

    def _maxpool(self, op, name):
        self._call("max", self._windows(op, name), self.place(op.x), self.place(op.y))

    def _mean(self, op, name):
        requant = self._requant(op, name)
        self._call("mean", self._windows(op, name), requant, self.place(op.x), self.place(op.y))

    def _windows(self, op, name):
        channels, *plane = self.program.shapes[op.x]
        held = constants.windows(self.constants, op.windows, channels, math.prod(plane))
        return self.constants.structure("tinyq_windows", name, held)

    def _requant(self, op, name):
        return self.constants.structure("tinyq_requant", f"{name}_requant",
                                        constants.requant(self.constants, op.requant))

    def _add(self, op, name):
        self._call("add", self._requant(op, name), self.place(op.x), self.place(op.added), self.place(op.y),
                   self._count(op.y))

    def _clip(self, op, name):
        self._call("clip", op.low, self.place(op.x), self.place(op.y), self._count(op.y))

    def _reshape(self, op, name):
        """Nothing: it lies where it lay."""

    def _move(self, op, name):
        if op.fill is not None:
            self._call("fill", op.fill, self.place(op.y), self._count(op.y))
        held = constants.move(op, self.program.shapes[op.x], self.program.shapes[op.y])
        if held is None:
            raise UsageError(f"C moves blocks of {MAX_AXES} axes at most, and this network cuts one of more")
        self._call("move", self.constants.structure("tinyq_move", name, held), self.place(op.x), self.place(op.y))


def _told(node):
    """A node's name without what would end a comment: names come from a file."""
    return re.sub(r"[^\w. :-]", "", f"{node.operation} {node.weight.name if node.weight else ''}".strip())
