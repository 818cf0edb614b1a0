"""Lower a packed network and the ranges of its activations to an integer program."""
from collections import Counter

import numpy as np

from tinyq.errors import UsageError
from tinyq.kernels.geometry.conv_geometry import conv_geometry
from tinyq.kernels.geometry.pooling_windows import adaptive_windows
from tinyq.packed.file.format import Packed
from tinyq.packed.file.graph import Node
from tinyq.packed.file.operations import conv_options, pool_geometry, slices
from tinyq.packed.file.reducing import clip_params
from tinyq.packed.file.tensor import FLOAT, MAX_BYTE, EncodedTensor
from tinyq.packed.integer.code_nodes import TYING, affine_of, last_with_codes, runs_on_codes
from tinyq.packed.integer.level_units import unit_of
from tinyq.packed.integer.program import (
    Add,
    Clip,
    Dequantise,
    Float,
    IntegerOperation,
    IntegerProduct,
    IntegerProgram,
    MaxPool,
    Mean,
    Move,
    Quant,
    Quantise,
    Requant,
    Reshape,
)
from tinyq.packed.integer.scales import INTEGER_KINDS, choose_quants, compute_requant, group_tied


class NotCalibrated(UsageError):
    """A file without the ranges that integer activations need."""


def lower(packed: Packed, kind: str) -> IntegerProgram:
    """Return the program for activations "int8" or "int16"; UsageError where the network cannot run on them.

    NotCalibrated, a UsageError, where the file has no ranges.
    """
    if packed.ranges is None:
        raise NotCalibrated(f"activations {kind}: the network was packed without calibration; apply "
                            "tinyq.packed.network.calibrated to it")
    return _Lowering(packed, kind).program()


class _Lowering:
    def __init__(self, packed: Packed, kind: str):
        self.packed, self.graph, self.kind = packed, packed.graph, INTEGER_KINDS[kind]
        self.result = len(self.graph.nodes) - 1
        self.integer = self._integer_nodes()
        self.end = last_with_codes(self.graph, self.integer)
        self.operations: list[IntegerOperation] = []
        self.in_codes: set[int] = set()             # values available as codes so far
        self.in_floats = {-1}                       # values available as floats so far
        self.quants = self._quants()

    def program(self) -> IntegerProgram:
        """Lower the nodes in order; convert a value when a reader needs its other form."""
        for number, node in enumerate(self.graph.nodes):
            values = [a for a in node.inputs if isinstance(a, int)]
            if number in self.integer:
                for value in values:
                    self._provide_codes(value)
                self.operations += self._integer_operations(number, node)
                self.in_codes.add(number)
            else:
                for value in values:
                    self._provide_floats(value)
                self.operations.append(Float(number))
                self.in_floats.add(number)
        shapes = {number: self.graph.shape_of(number) for number in range(-1, len(self.graph.nodes))}
        return IntegerProgram(self.kind.name, np.dtype(self.kind.dtype), tuple(self.operations), shapes, self.quants,
                              self.result, self.end)

    def _provide_codes(self, value: int):
        if value not in self.in_codes:
            quant = self.quants[value]
            self.operations.append(Quantise(value, value, float(np.float32(1 / quant.scale)), quant))
            self.in_codes.add(value)

    def _provide_floats(self, value: int):
        if value not in self.in_floats:
            self.operations.append(Dequantise(value, value, self.quants[value]))
            self.in_floats.add(value)

    # -- which nodes are computed in integers -------------------------------------------------------------------------

    def _integer_nodes(self) -> set[int]:
        """Return the products whose weights are integer levels, and the nodes after a product that can run on codes."""
        integer: set[int] = set()
        behind: set[int] = set()
        for number, node in enumerate(self.graph.nodes):
            if node.weight:
                behind.add(number)
                if self._unit(node) is not None:
                    integer.add(number)
            elif behind.intersection(a for a in node.inputs if isinstance(a, int)):
                behind.add(number)
                if runs_on_codes(self.packed, node):
                    integer.add(number)
        return integer

    def _unit(self, node: Node) -> float | None:
        """Return the largest power of two that all levels are whole multiples of; None for float weights."""
        tensor = self._tensor(node)
        unit = unit_of(tensor)
        if unit is None and tensor.scheme != FLOAT:
            raise UsageError(f"activations {self.kind.name}: the levels of {node.product_weight.name} are not k * 2^n "
                             f"with whole k up to {MAX_BYTE}; use float32 activations")
        return unit

    def _tensor(self, node: Node) -> EncodedTensor:
        return self.packed.tensors[node.product_weight.name]

    # -- scales -------------------------------------------------------------------------------------------------------

    def _quants(self) -> dict[int, Quant]:
        """Choose the scale of every value that has codes."""
        nodes = self.graph.nodes
        ties = [(a, number) for number in sorted(self.integer) if nodes[number].operation in TYING
                for a in nodes[number].inputs]
        coded = set(self.integer) | {a for number in self.integer for a in nodes[number].inputs if isinstance(a, int)}
        last = nodes[self.end]
        wide = self.end in self.integer and last.weight and len(last.inputs) == 1
        return choose_quants(self.kind, self._ranges(), group_tied(coded, ties), self._readers,
                             self.end if wide else None)

    def _ranges(self) -> np.ndarray:
        """Return the calibrated ranges; what only a clip reads needs no codes outside the clip's range."""
        assert self.packed.ranges is not None
        ranges, nodes = self.packed.ranges.copy(), self.graph.nodes
        readers = Counter(a for node in nodes for a in node.inputs if isinstance(a, int))
        for number, node in reversed(list(enumerate(nodes))):
            if node.operation == "clip" and readers[node.inputs[0]] == 1:
                ranges[:, node.inputs[0] + 1] = ranges[:, number + 1]
        return ranges

    def _readers(self, value: int) -> list[tuple[str, int]]:
        """Return, per integer product that reads the value, (name, largest sum of the magnitudes of a row's levels)."""
        products = [self.graph.nodes[number] for number in self.integer if self.graph.nodes[number].weight]
        return [(node.product_weight.name, int(np.abs(_levels(self._tensor(node), self._unit(node))).sum(axis=1).max()))
                for node in products if node.inputs[0] == value]

    def _requant(self, y: int, factors, shifts, sums, constants=0, relu=False, added=None) -> Requant:
        """Call compute_requant with the Quants of the values y and added."""
        try:
            return compute_requant(self.quants[y], factors, shifts, sums, constants, relu,
                                   None if added is None else self.quants[added])
        except OverflowError as error:
            raise UsageError(f"activations {self.kind.name}: the values of {self.graph.label_of(y)} are far outside "
                             "the calibrated range; use float32 activations") from error

    # -- the operations of one node -----------------------------------------------------------------------------------

    def _integer_operations(self, number: int, node: Node) -> list[IntegerOperation]:
        x, affine = node.inputs[0], affine_of(self.packed, node)
        if affine is not None:
            return [self._scaled(number, *affine)]
        match node.operation:
            case "product":
                return [self._product(number, node)]
            case "add":
                return [self._add(number, node)]
            case "relu":
                return [Clip(x, number, self.quants[number].zero, self.quants[number].high)]
            case "clip":
                return [self._clip(number, node)]
            case "max_pool2d":
                return [MaxPool(x, number, pool_geometry(self.graph.shape_of(x), node.operation, node.params))]
            case "avg_pool2d" | "adaptive_avg_pool2d" | "mean":
                return [self._mean(number, node)]
            case "flatten" | "reshape":
                return [Reshape(x, number)]
            case "concatenate":
                return self._concatenate(number, node)
            case "getitem":
                return [self._slice(number, node)]
            case "pad":
                return [self._pad(number, node)]
        raise AssertionError(f"{node.operation} does not run on codes")

    def _product(self, number, node):
        tensor, unit = self._tensor(node), self._unit(node)
        x, added = (*node.inputs, None)[:2]
        assert unit is not None                 # a product of floats is not lowered
        quant, options = self.quants[x], node.params["options"]
        geometry = None
        if options is not None:
            geometry = conv_geometry((1, *self.graph.shape_of(x)), tensor.shape, **conv_options(options))
        levels = _levels(tensor, unit)
        largest = np.abs(levels).sum(axis=1) * max(abs(quant.low), abs(quant.high))
        scale, shift = tensor.affine.astype(np.float64)
        requant = self._requant(number, scale * unit * quant.scale, shift, largest, quant.zero * levels.sum(axis=1),
                                node.params["relu"], added)
        return IntegerProduct(x, number, added, tensor, unit, geometry, quant.zero, requant)

    def _mean(self, number, node):
        x = node.inputs[0]
        quant = self.quants[x]
        shape = self.graph.shape_of(x)
        windows = (adaptive_windows(shape[1:], 1) if node.operation == "mean" else
                   pool_geometry(shape, node.operation, node.params))
        counts = windows.heights.astype(np.int64) * windows.widths
        requant = self._requant(number, quant.scale / windows.divisors.astype(np.float64), np.zeros(len(counts)),
                                counts * max(abs(quant.low), abs(quant.high)), counts * quant.zero)
        return Mean(x, number, windows, requant)

    def _add(self, number, node):
        x, added = node.inputs
        quant = self.quants[x]
        requant = self._requant(number, [quant.scale], [0.0], [max(abs(quant.low), abs(quant.high))], [quant.zero],
                                added=added)
        return Add(x, number, added, requant)

    def _scaled(self, number, x, factor, shift):
        """Return factor * x + shift, as a sum with x itself of weight 0."""
        quant = self.quants[x]
        requant = self._requant(number, [quant.scale * factor], [shift], [max(abs(quant.low), abs(quant.high))],
                                [quant.zero])
        return Add(x, number, x, requant)

    def _clip(self, number, node):
        """Limit codes to those nearest to the limits; the code of 0 is exact."""
        quant, limits = self.quants[number], clip_params(node.params)
        low, high = (int(np.clip(np.rint(limit / quant.scale) + quant.zero, quant.low, quant.high))
                     for limit in (limits["low"], limits["high"]))
        return Clip(node.inputs[0], number, low, high)

    def _concatenate(self, number, node):
        moves, start = [], 0
        for a in node.inputs:
            shape = self.graph.shape_of(a)
            target = (slice(start, start + shape[0]), *map(slice, shape[1:]))
            moves.append(Move(a, number, tuple(map(slice, shape)), target, None))
            start += shape[0]
        return moves

    def _slice(self, number, node):
        x = node.inputs[0]
        shape = self.graph.shape_of(x)
        parts = slices(node.params) + (slice(None),) * (len(shape) - len(node.params["index"]))
        source = tuple(slice(*part.indices(size)) for part, size in zip(parts, shape, strict=True))
        return Move(x, number, source, tuple(map(slice, node.shape)), None)

    def _pad(self, number, node):
        x = node.inputs[0]
        shape = self.graph.shape_of(x)
        target = tuple(slice(before, before + size)
                       for (before, _), size in zip(node.params["widths"], shape, strict=True))
        return Move(x, number, tuple(map(slice, shape)), target, self.quants[number].zero)


def _levels(tensor: EncodedTensor, unit) -> np.ndarray:
    """Return the integer levels (rows, k) int64."""
    return (tensor.unscaled().reshape(tensor.rows, -1) / np.float32(unit)).astype(np.int64)
