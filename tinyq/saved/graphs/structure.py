"""The structure of a network in one form, whichever program it comes from: what is computed, in which order, on what.

Shapes are per sample. Dropout, copies and casts are left out; numbers that scale or shift channels are one affine;
whatever only changes a shape is a reshape; pooling is known by its windows.
"""
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinyq.kernels.geometry.pooling_windows import Windows

AFFINE, RESHAPE, CONV, LINEAR, NORM = "affine", "reshape", "conv", "linear", "batch norm"
COMMUTATIVE = ("add", "maximum")
CLOSE = 1e-5                            # of factors and shifts, which other programs compute in float32


@dataclass(eq=False)
class Operation:
    """One operation. inputs: numbers of earlier ones; -1 is the network's input.

    arrays: weights by their roles (weight, bias, mean, variance; factor, shift), as far as there are any. names: of
    these in the network's state_dict.
    """

    kind: str
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    params: tuple[Any, ...] = ()             # hashable
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    label: str = ""

    @property
    def key(self) -> Hashable:
        """Return what two operations must have in common to be the same; whether one has a bias is left open."""
        weight = self.arrays["weight"].shape if self.kind in (CONV, LINEAR) else ()
        return self.kind, self.shape, self.params, weight

    def like(self, other: "Operation") -> bool:
        """Return whether factors and shifts agree, for operations of one key."""
        return self.kind != AFFINE or all(
            np.allclose(self.arrays[name], other.arrays[name], CLOSE, CLOSE) for name in ("factor", "shift"))


class Structure:
    """Operations in order of computation, for inputs of one shape."""

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        self.input_shape, self.operations = input_shape, list[Operation]()
        self.result = -1

    def shape_of(self, number: int) -> tuple[int, ...]:
        """Return the shape of a value; -1 is the input."""
        return self.input_shape if number == -1 else self.operations[number].shape

    def add(self, operation: Operation) -> int:
        """Append an operation and return its number."""
        self.operations.append(operation)
        return len(self.operations) - 1

    def reshape(self, x: int, shape: tuple[int, ...]) -> int:
        """Give a value another shape; nothing is added where it has it."""
        while x >= 0 and self.operations[x].kind == RESHAPE:
            x, = self.operations[x].inputs
        return x if self.shape_of(x) == shape else self.add(Operation(RESHAPE, (x,), shape))

    def affine(self, x: int, factor: np.ndarray, shift: np.ndarray) -> int:
        """Scale and shift the channels of a value, (c,) or (1,) each, together with an affine before it."""
        channels = self.shape_of(x)[0]
        factor, shift = (np.broadcast_to(np.asarray(a, np.float64), (channels,)) for a in (factor, shift))
        if x >= 0 and self.operations[x].kind == AFFINE:
            before = self.operations[x]
            factor, shift = before.arrays["factor"] * factor, before.arrays["shift"] * factor + shift
            x, = before.inputs
        return self.add(Operation(AFFINE, (x,), self.shape_of(x), arrays={"factor": factor, "shift": shift}))

    def pool(self, kind: str, x: int, windows: Windows) -> int:
        """Pool a plane; kind: max or average. Windows of one element that cover the plane change nothing."""
        if windows.taps == (1, 1) and windows.output_size == self.shape_of(x)[1:]:
            return x
        tables = [windows.origins, windows.heights, windows.widths, *([] if kind == "max" else [windows.divisors])]
        params = (windows.step if max(windows.taps) > 1 else 0, *(np.asarray(table).tobytes() for table in tables))
        return self.add(Operation(f"{kind} pooling", (x,), (self.shape_of(x)[0], *windows.output_size), params))


def channel_values(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """Return a constant beside a value of this shape as (c,) or (1,); None where it varies along other axes."""
    rank = len(shape) + 1
    if array.ndim > rank:
        return None
    wide = array.reshape((1,) * (rank - array.ndim) + array.shape)
    return wide.reshape(-1) if wide.size == wide.shape[1] and wide.shape[1] in (1, shape[0]) else None


def affine_of(kind: str, constant: np.ndarray, first: bool) -> tuple[np.ndarray, np.ndarray] | None:
    """Return (factor, shift) of an operation on a value and a constant; None for another. first: the value comes first.
    """
    one, none = np.ones_like(constant), np.zeros_like(constant)
    match kind:
        case "add":
            return one, constant
        case "sub":
            return (one, -constant) if first else (-one, constant)
        case "mul":
            return constant, none
        case "div" if first and constant.all():
            return 1 / constant.astype(np.float64), none
    return None
