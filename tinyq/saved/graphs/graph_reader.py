"""Look up what a node of an ONNX graph reads: values of the network, constants, attributes; sizes are limited."""
import math
from typing import Any

import numpy as np

from tinyq.files.foreign.onnx_model import array_of
from tinyq.files.foreign.protobuf import Malformed, Message
from tinyq.saved.graphs.onnx_constants import attributes_of
from tinyq.saved.graphs.structure import Structure

SMALL, PER_BYTE = 1 << 22, 64           # numbers of a value, and more per byte of the file
MAX_COMPUTED = 8                        # bytes of computed constants per byte of the file
MAX_INTEGERS = 64                       # of axes, paddings and shapes


class GraphReader:
    """The structure read so far, and the node that is read now."""

    def __init__(self, graph: Message, input_name: str, input_shape: tuple[int, ...], file_bytes: int) -> None:
        """input_name: of the value that is the network's input; file_bytes: size of the file."""
        self.structure, self.file_bytes = Structure(input_shape), file_bytes
        self.limit, self.left = SMALL + PER_BYTE * file_bytes, MAX_COMPUTED * file_bytes + SMALL
        self.tensors = {each["name"]: each for each in graph["initializer"]}
        if len(self.tensors) < len(graph["initializer"]):
            raise Malformed("two of its constants have the same name")
        self.constants: dict[str, np.ndarray] = {}
        self.values: dict[str, int] = {input_name: -1}
        self.node: Message = {}
        self.attributes: dict[str, Any] = {}
        self.check_size(input_shape)

    def start(self, node: Message) -> None:
        """Go on to a node."""
        self.node, self.attributes = node, attributes_of(node)

    def note(self, name: str, array: np.ndarray) -> None:
        """Keep a computed constant."""
        self.left -= array.nbytes
        if self.left < 0:
            raise Malformed("its constants take more memory than a file of this size may ask for")
        self.constants[name] = array

    def is_constant(self, name: str) -> bool:
        """Return whether a name is that of a constant."""
        return name in self.tensors or name in self.constants

    def array(self, name: str) -> np.ndarray:
        """Return a constant by its name."""
        if name not in self.constants:
            self.constants[name] = array_of(self.tensors[name])
        return self.constants[name]

    def value(self, position: int) -> int:
        """Return the number of an input that depends on the network's input."""
        name = self.node["input"][position] if position < len(self.node["input"]) else ""
        if name not in self.values:
            raise Malformed(f"its {self.node['op_type']} reads {name!r}, which is no value computed before it")
        return self.values[name]

    def constant(self, position: int, attribute: str = "") -> np.ndarray | None:
        """Return a constant input, or the attribute that older files have in its place; None where there is neither."""
        inputs = self.node["input"]
        if position < len(inputs) and inputs[position]:
            if not self.is_constant(inputs[position]):
                raise Malformed(f"its {self.node['op_type']} reads {inputs[position]!r}, which is not a constant")
            return self.array(inputs[position])
        return np.asarray(self.attributes[attribute]) if attribute in self.attributes else None

    def needed(self, position: int, attribute: str = "") -> np.ndarray:
        """Return a constant input or attribute that must be there."""
        found = self.constant(position, attribute)
        if found is None:
            raise Malformed(f"its {self.node['op_type']} lacks an input")
        return found

    def integers(self, position: int, attribute: str = "") -> list[int]:
        """Return a constant input or attribute as a few whole numbers."""
        found = self.needed(position, attribute)
        if found.dtype.kind not in "iu" or found.size > MAX_INTEGERS:
            raise Malformed(f"its {self.node['op_type']} has no small whole numbers where some are needed")
        return [int(n) for n in found.reshape(-1)]

    def sized(self, number: int) -> int:
        """Return a value's number; Malformed where the value is too large."""
        self.check_size(self.structure.shape_of(number))
        return number

    def check_size(self, shape: tuple[int, ...]) -> None:
        """Raise Malformed for a shape that is none, or too large for the file."""
        if len(shape) > 8 or min(shape, default=1) < 1 or math.prod(shape) > self.limit:
            raise Malformed(f"a value of the shape {list(shape)[:9]} does not fit a file of {self.file_bytes:,} bytes")
