"""From a packed network and the ranges of its activations to its integer program."""
import numpy as np

from tinyq.errors import UsageError
from tinyq.kernels.geometry import conv_geometry
from tinyq.packed.format import Packed
from tinyq.packed.graph import Constant
from tinyq.packed.operations import _slices, conv_options, pool_geometry
from tinyq.packed.program import (
    MOST_SUM,
    Add,
    Clip,
    Dequantise,
    Float,
    MaxPool,
    Mean,
    Move,
    Product,
    Program,
    Quant,
    Quantise,
    Requant,
    Reshape,
)
from tinyq.packed.tensor import BYTES, FLOAT, MOST_BYTE

KINDS = {"int8": (np.uint8, 0, 255), "int16": (np.int16, -32767, 32767)}
RESULT_STEPS = 1 << 20                  # codes from 0 to the largest calibrated logit
MOST_RESULT = 1 << 30
LEAST_SCALE = 2.0**-126
WIDE_MARGIN = 2                         # of 16-bit codes beyond what the calibration met: there is room
# What an integer form passes on with the codes it got: one scale for its inputs and its output.
TYING = ("relu", "max_pool2d", "flatten", "reshape", "concatenate", "getitem", "pad")
POOLING = ("max_pool2d", "avg_pool2d", "adaptive_avg_pool2d")


def lower(packed: Packed, kind: str) -> Program:
    """The program for activations "int8" or "int16"; UsageError where the network has no such form."""
    if packed.ranges is None:
        raise UsageError(f"activations {kind}: the file was packed without calibration; pack it again with "
                         "--calibrate, or run it with --calibrate")
    return _Lowering(packed, kind).program()


class _Lowering:
    def __init__(self, packed, kind):
        self.packed, self.graph, self.kind = packed, packed.graph, kind
        self.dtype, self.least, self.most = KINDS[kind]
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
        return Program(self.kind, np.dtype(self.dtype), tuple(self.operations), shapes, self.quants, self.result)

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
            return all(part.step is None or part.step > 0 for part in _slices(node.params))
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
        if not fitting or np.abs(tensor.levels / fitting[0]).max() > MOST_BYTE:
            raise UsageError(f"activations {self.kind}: the levels of {node.weight.name} are not whole multiples, "
                             f"up to {MOST_BYTE}, of a power of two; use float32")
        return float(fitting[0])

    def _largest_sums(self, node):
        """(rows,) the sum of the magnitudes of each row's integer levels, int64."""
        tensor = self.packed.tensors[node.weight.name]
        return np.abs(self._levels(tensor, self._unit(node))).sum(axis=1)

    @staticmethod
    def _levels(tensor, unit):
        return (tensor.bare().reshape(tensor.rows, -1) / np.float32(unit)).astype(np.int64)

    # -- scales ---------------------------------------------------------------------------------------------------

    def _quants(self):
        groups = self._tied_groups()
        ranges = self.packed.ranges[KINDS_RANGE[self.kind]].astype(np.float64)
        quants = {}
        for group in groups:
            low, high = (min(0.0, ranges[[v + 1 for v in group], 0].min()),
                         max(0.0, ranges[[v + 1 for v in group], 1].max()))
            most = min((self._most_code(v) for v in group), default=self.most)
            quant = self._quant(low, high, most)
            quants |= dict.fromkeys(group, quant)
        last = self.graph.nodes[self.result]
        if self.result in self.integer and last.weight and len(last.inputs) == 1:
            largest = np.abs(ranges[self.result + 1]).max() or 1.0
            quants[self.result] = Quant(_scale(largest, RESULT_STEPS), 0, -MOST_RESULT, MOST_RESULT)
        return quants

    def _tied_groups(self):
        """Lists of values that share one scale, of all that have codes."""
        coded = set(self.integer) | {a for i in self.integer for a in self.graph.nodes[i].inputs if isinstance(a, int)}
        leader = {value: value for value in coded}

        def find(value):
            while leader[value] != value:
                value = leader[value]
            return value

        for number in self.integer:
            if self.graph.nodes[number].operation in TYING:
                for a in self.graph.nodes[number].inputs:
                    leader[find(a)] = find(number)
        groups = {}
        for value in sorted(coded):
            groups.setdefault(find(value), []).append(value)
        return list(groups.values())

    def _most_code(self, value):
        """The largest code with which no sum of a product that reads the value leaves int32."""
        most = self.most
        for number in self.integer:
            node = self.graph.nodes[number]
            if node.weight and node.inputs[0] == value:
                allowed = MOST_SUM // max(1, int(self._largest_sums(node).max()))
                if self.kind == "int8" and allowed < most:
                    raise UsageError(f"activations int8: the sums of {node.weight.name} leave int32; use float32")
                most = min(most, allowed)
        return most

    def _quant(self, low, high, most):
        if self.least < 0:                                              # symmetric
            return Quant(_scale(WIDE_MARGIN * max(-low, high), most), 0, -most, most)
        scale = _scale(high - low, most)
        return Quant(scale, int(np.rint(-low / scale)), 0, most)

    def _requant(self, y, factors, shifts, sums, constants=0, relu=False, added=None, share=1.0):
        """What turns sums into codes of y: value = factor * sum + shift, and the added value times its share.

        factors, shifts (rows,) float64; sums: (rows,) the largest magnitude a sum can have; constants: (rows,) int64
        what the zero point adds to every sum.
        """
        quant = self.quants[y]
        factors, shifts = (np.asarray(a, np.float64) / quant.scale for a in (factors, shifts))
        other = self.quants[added] if added is not None else None
        ratio = share * other.scale / quant.scale if other else 0.0
        for bits in range(62, 0, -1):
            multiplier = np.rint(np.ldexp(factors, bits))
            if np.abs(multiplier).max() > MOST_SUM:
                continue
            added_multiplier, added_shift = _split(np.rint(np.ldexp(ratio, bits)))
            step = added_multiplier << added_shift
            offset = [int(s) - int(m) * int(c) + (quant.zero << bits) - (step * other.zero if other else 0)
                      for s, m, c in zip(np.rint(np.ldexp(shifts, bits)), multiplier,
                                         np.broadcast_to(constants, factors.shape), strict=True)]
            reach = max(abs(int(m)) * int(s) + abs(o) for m, s, o in
                        zip(multiplier, np.broadcast_to(sums, factors.shape), offset, strict=True))
            if reach + step * (max(abs(other.low), abs(other.high)) if other else 0) < 1 << 61:
                return Requant(multiplier.astype(np.int32), np.array(offset, np.int64), bits,
                               max(quant.low, quant.zero) if relu else quant.low, quant.high,
                               added_multiplier, added_shift)
        raise UsageError(f"activations {self.kind}: the values of node {y} are too far from their scale; use float32")

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
        parts = _slices(node.params) + (slice(None),) * (len(shape) - len(node.params["index"]))
        source = tuple(slice(*part.indices(size)) for part, size in zip(parts, shape, strict=True))
        self.operations.append(Move(x, number, source, tuple(map(slice, node.shape)), None))

    def _padded(self, number, node):
        x = node.inputs[0]
        shape = self.graph.shape_of(x)
        target = tuple(slice(before, before + size)
                       for (before, _), size in zip(node.params["widths"], shape, strict=True))
        self.operations.append(Move(x, number, tuple(map(slice, shape)), target, self.quants[number].zero))


def _scale(width, codes):
    """A step of width / codes as a float32; 1 where that, or its reciprocal, is no normal float32: all is 0 then."""
    scale = float(np.float32(width / codes))
    return scale if scale >= LEAST_SCALE else 1.0


def _split(value):
    """(m, t) with m << t the nearest to a whole number that m, of int32, allows."""
    value, shift = int(value), 0
    while abs(value) > MOST_SUM:
        value, shift = value >> 1, shift + 1
    return value, shift


KINDS_RANGE = {"int16": 0, "int8": 1}
