"""Collect the nodes and initialisers of an ONNX graph."""
from collections.abc import Sequence

import numpy as np

from tinyq.files.foreign import onnx_model
from tinyq.files.foreign.protobuf import Message

_FLOAT, _INTEGER, _INTEGERS = 1, 2, 7                   # AttributeProto.AttributeType


class Nodes:
    """Nodes in order of computation; the name of a value is that of the tensor that a node writes."""

    def __init__(self) -> None:
        self.nodes: list[Message] = []
        self.initializers: dict[str, Message] = {}

    def add(self, operation: str, inputs: Sequence[str], output: str, **attributes: "float | int | Sequence[int]"
            ) -> str:
        """Append a node that writes one value, and return the value's name; a node is named after what it writes."""
        self.nodes.append({"op_type": operation, "input": list(inputs), "output": [output], "name": output,
                           "attribute": [_attribute(name, attributes[name]) for name in sorted(attributes)]})
        return output

    def constant(self, name: str, array: np.ndarray, kind: int | None = None) -> str:
        """Store an array, of another ONNX data type if `kind` names one, and return its name."""
        self.initializers[name] = onnx_model.tensor(name, array, kind)
        return name

    def floats(self, name: str, values: object) -> str:
        """Store float32 values."""
        return self.constant(name, np.asarray(values, np.float32))

    def integers(self, name: str, values: Sequence[int]) -> str:
        """Store int64 values, as axes and shapes are."""
        return self.constant(name, np.asarray(values, np.int64))


def _attribute(name: str, value: "float | int | Sequence[int]") -> Message:
    if isinstance(value, float):
        return {"name": name, "type": _FLOAT, "f": value}
    if isinstance(value, int):
        return {"name": name, "type": _INTEGER, "i": value}
    return {"name": name, "type": _INTEGERS, "ints": [int(number) for number in value]}
