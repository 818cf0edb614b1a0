"""From a packed network and the ranges of its activations to its integer program: the form of each node."""
import numpy as np

from tinyq.errors import UsageError
from tinyq.kernels.geometry.conv_geometry import conv_geometry
from tinyq.packed.file.format import Packed
from tinyq.packed.file.graph import Constant
from tinyq.packed.file.operations import conv_options, pool_geometry, slices
from tinyq.packed.file.tensor import BYTES, FLOAT, MAX_BYTE
from tinyq.packed.integer.program import (
    Add,
    Clip,
    Dequantise,
    Float,
    MaxPool,
    Mean,
    Move,
    Product,
    Program,
    Quantise,
    Reshape,
)
from tinyq.packed.integer.scales import INTEGER_KINDS, quants_of, requant_of, tied_groups

# What an integer form passes on with the codes it got: one scale for its inputs and its output.
TYING = ("relu", "max_pool2d", "flatten", "reshape", "concatenate", "getitem", "pad")
POOLING = ("max_pool2d", "avg_pool2d", "adaptive_avg_pool2d")


def lower(packed: Packed, kind: str) -> Program:
    """The program for activations "int8" or "int16"; UsageError where the network has no such form."""
    if packed.ranges is None:
        raise UsageError(f"activations {kind}: the file was packed without calibration; pack it again with "
                         "--calibrate (for C also with --float-layer-bits 8), or infer with --calibrate")
    return _Lowering(packed, kind).program()


class _Lowering:
    def __init__(self, packed, kind):
        self.packed, self.graph, self.kind = packed, packed.graph, INTEGER_KINDS[kind]
        self.result = len(self.graph.nodes) - 1
        self.integer = self._integer_nodes()
        self.operations, self.forms = [], {(-1, "float")}
        self.quants = self._quants()

    def program(self):
        """Node after node, in the form it has; conversions where a reader wants the other form."""
        for number, node in enumerate(self.graph.nodes):
            form = "codes" if number in self.integer else "float"
            for a in node.inputs:
                if isinstance(a, int):
                    self._need(a, form)
            getattr(self, f"_{self._form_of(node)}" if form == "codes" else "_float")(number, node)
            self.forms.add((number, form))
        shapes = {number: self.graph.shape_of(number) for number in range(-1, len(self.graph.nodes))}
        return Program(self.kind.name, np.dtype(self.kind.dtype), tuple(self.operations), shapes, self.quants,
                       self.result)

    def _integer_nodes(self):
        """Products of levels or bytes, and what follows a product and has an integer form."""
        integer, behind = set(), set()
        for number, node in enumerate(self.graph.nodes):
            inputs = [a for a in node.inputs if isinstance(a, int)]
            if node.weight:
                behind.add(number)
                if self._unit(node) is not None:
                    integer.add(number)
            elif behind.intersection(inputs):
                behind.add(number)
                if self._has_integer_form(node):
                    integer.add(number)
        return integer

    def _has_integer_form(self, node):
        values_only = not any(isinstance(a, Constant) for a in node.inputs)
        if node.operation == "add":
            return values_only and len({self.graph.shape_of(a) for a in node.inputs}) == 1
        if node.operation == "concatenate":
            return values_only and node.params["axis"] == 0
        if node.operation == "getitem":
            return all(part.step is None or part.step > 0 for part in slices(node.params))
        return node.operation in TYING or node.operation in POOLING

    def _unit(self, node):
        """What a product's levels are integer multiples of, the largest such power of two; None for float weights."""
        tensor = self.packed.tensors[node.weight.name]
        if tensor.scheme == FLOAT:
            return None
        if tensor.scheme == BYTES:
            return 1.0
        units = 2.0 ** np.arange(30, -31, -1)
        fitting = [u for u in units if (tensor.levels / u == np.rint(tensor.levels / u)).all()]
        if not fitting or np.abs(tensor.levels / fitting[0]).max() > MAX_BYTE:
            raise UsageError(f"activations {self.kind.name}: the levels of {node.weight.name} are not whole multiples, "
                             f"up to {MAX_BYTE}, of a power of two; use float32")
        return float(fitting[0])

    def _largest_sums(self, node):
        """(rows,) the sum of the magnitudes of each row's integer levels, int64."""
        tensor = self.packed.tensors[node.weight.name]
        return np.abs(self._levels(tensor, self._unit(node))).sum(axis=1)

    @staticmethod
    def _levels(tensor, unit):
        return (tensor.bare().reshape(tensor.rows, -1) / np.float32(unit)).astype(np.int64)

    def _quants(self):
        """Of every value that has codes."""
        nodes = self.graph.nodes
        ties = [(a, number) for number in sorted(self.integer) if nodes[number].operation in TYING
                for a in nodes[number].inputs]
        coded = set(self.integer) | {a for number in self.integer for a in nodes[number].inputs if isinstance(a, int)}
        last = nodes[self.result]
        wide = self.result in self.integer and last.weight and len(last.inputs) == 1
        return quants_of(self.kind, self.packed.ranges, tied_groups(coded, ties), self._readers,
                         self.result if wide else None)

    def _readers(self, value):
        """(name, largest sum of the magnitudes of a row's integer levels) of each integer product of a value."""
        products = (self.graph.nodes[number] for number in self.integer)
        return [(node.weight.name, int(self._largest_sums(node).max())) for node in products
                if node.weight and node.inputs[0] == value]

    def _requant(self, y, factors, shifts, sums, constants=0, relu=False, added=None):
        """See requant_of; y, added: values."""
        try:
            return requant_of(self.quants[y], factors, shifts, sums, constants, relu,
                              None if added is None else self.quants[added])
        except OverflowError as error:
            raise UsageError(f"activations {self.kind.name}: the values of node {y} are too far from their scale; "
                             "use float32") from error

    # -- the form of each operation -------------------------------------------------------------------------------

    def _need(self, value, form):
        """Convert a value where it has not this form yet."""
        if (value, form) in self.forms:
            return
        quant = self.quants[value]
        if form == "codes":
            reciprocal = float(np.float32(1 / quant.scale))
            self.operations.append(Quantise(value, value, reciprocal, quant))
        else:
            self.operations.append(Dequantise(value, value, quant))
        self.forms.add((value, form))

    @staticmethod
    def _form_of(node):
        same = {"concatenate": "joined", "getitem": "cut", "pad": "padded", "flatten": "reshaped",
                "reshape": "reshaped", "adaptive_avg_pool2d": "mean", "avg_pool2d": "mean",
                "max_pool2d": "largest", "relu": "clipped"}
        return same.get(node.operation, node.operation)

    def _float(self, number, node):
        self.operations.append(Float(number))

    def _product(self, number, node):
        tensor, unit = self.packed.tensors[node.weight.name], self._unit(node)
        x, added = (*node.inputs, None)[:2]
        quant, options = self.quants[x], node.params["options"]
        geometry = None
        if options is not None:
            geometry = conv_geometry((1, *self.graph.shape_of(x)), tensor.shape, **conv_options(options))
        levels = self._levels(tensor, unit)
        largest = np.abs(levels).sum(axis=1) * max(abs(quant.low), abs(quant.high))
        scale, shift = tensor.affine.astype(np.float64)
        requant = self._requant(number, scale * unit * quant.scale, shift, largest, quant.zero * levels.sum(axis=1),
                                node.params["relu"], added)
        self.operations.append(Product(x, number, added, tensor, unit, geometry, quant.zero, requant))

    def _largest(self, number, node):
        windows = pool_geometry(self.graph.shape_of(node.inputs[0]), node.operation, node.params)
        self.operations.append(MaxPool(node.inputs[0], number, windows))

    def _mean(self, number, node):
        x = node.inputs[0]
        quant = self.quants[x]
        windows = pool_geometry(self.graph.shape_of(x), node.operation, node.params)
        counts = windows.heights.astype(np.int64) * windows.widths
        requant = self._requant(number, quant.scale / windows.divisors.astype(np.float64), np.zeros(len(counts)),
                                counts * max(abs(quant.low), abs(quant.high)), counts * quant.zero)
        self.operations.append(Mean(x, number, windows, requant))

    def _add(self, number, node):
        x, added = node.inputs
        quant = self.quants[x]
        requant = self._requant(number, [quant.scale], [0.0], [max(abs(quant.low), abs(quant.high))], [quant.zero],
                                added=added)
        self.operations.append(Add(x, number, added, requant))

    def _clipped(self, number, node):
        self.operations.append(Clip(node.inputs[0], number, self.quants[number].zero))

    def _reshaped(self, number, node):
        self.operations.append(Reshape(node.inputs[0], number))

    def _joined(self, number, node):
        start = 0
        for a in node.inputs:
            shape = self.graph.shape_of(a)
            target = (slice(start, start + shape[0]), *map(slice, shape[1:]))
            self.operations.append(Move(a, number, tuple(map(slice, shape)), target, None))
            start += shape[0]

    def _cut(self, number, node):
        x = node.inputs[0]
        shape = self.graph.shape_of(x)
        parts = slices(node.params) + (slice(None),) * (len(shape) - len(node.params["index"]))
        source = tuple(slice(*part.indices(size)) for part, size in zip(parts, shape, strict=True))
        self.operations.append(Move(x, number, source, tuple(map(slice, node.shape)), None))

    def _padded(self, number, node):
        x = node.inputs[0]
        shape = self.graph.shape_of(x)
        target = tuple(slice(before, before + size)
                       for (before, _), size in zip(node.params["widths"], shape, strict=True))
        self.operations.append(Move(x, number, tuple(map(slice, shape)), target, self.quants[number].zero))
