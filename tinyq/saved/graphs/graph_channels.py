"""Follow single channels of a value that are taken apart, scaled and joined again, as GoogLeNet does with its input."""
import numpy as np

from tinyq.files.foreign.protobuf import Malformed
from tinyq.saved.graphs.graph_reader import GraphReader

FOLLOWED = ("Gather", "Unsqueeze", "Mul", "Add", "Concat")


class Picked:
    """Channels of a value, each scaled and shifted. has_axis: whether the axis of channels is still there."""

    def __init__(self, x: int, channels: list[int], factors: list[float], shifts: list[float], has_axis: bool) -> None:
        self.x, self.channels, self.factors, self.shifts, self.has_axis = x, channels, factors, shifts, has_axis

    def with_axis(self, has_axis: bool) -> "Picked":
        """Return the same with its axis of channels, or without."""
        return Picked(self.x, self.channels, self.factors, self.shifts, has_axis)

    def scaled(self, number: float) -> "Picked":
        """Return the channels times a number."""
        return Picked(self.x, self.channels, [n * number for n in self.factors], [n * number for n in self.shifts],
                       self.has_axis)

    def shifted(self, number: float) -> "Picked":
        """Return the channels plus a number."""
        return Picked(self.x, self.channels, self.factors, [n + number for n in self.shifts], self.has_axis)


class Channels:
    """The channels taken apart so far, by the name of the value."""

    def __init__(self, reader: GraphReader) -> None:
        """Start with none."""
        self.reader, self.picked = reader, dict[str, Picked]()

    def follow(self, operation: str, inputs: list[str], name: str) -> bool:
        """Follow single channels of a value, as GoogLeNet takes its input apart; return whether the node does that."""
        if operation not in FOLLOWED:
            return False
        if operation == "Gather":
            index = self.reader.constant(1) if len(inputs) > 1 else None
            axis = self.reader.attributes.get("axis", 0)
            if inputs[0] not in self.reader.values or index is None or index.size != 1 or axis != 1:
                return False
            x, channel = self.reader.values[inputs[0]], int(index.reshape(-1)[0])
            if not 0 <= channel < self.reader.structure.shape_of(x)[0]:
                raise Malformed("its Gather takes a channel that is none")
            self.picked[name] = Picked(x, [channel], [1.0], [0.0], index.ndim == 1)
            return True
        own = [self.picked[a] for a in inputs if a in self.picked]
        if not own:
            return False
        if operation == "Concat":
            if len(own) != len(inputs) or self.reader.attributes.get("axis") != 1:
                return False
            return self._join(own, name)
        constant = next((self.reader.array(a) for a in inputs if self.reader.is_constant(a)), None)
        picked = own[0]
        if operation == "Unsqueeze":
            self.picked[name] = picked.with_axis(self.reader.integers(1, "axes") == [1] and not picked.has_axis)
            return picked.has_axis is False and self.picked[name].has_axis
        if constant is None or constant.size != 1:
            return False
        number = float(constant.reshape(-1)[0])
        self.picked[name] = picked.scaled(number) if operation == "Mul" else picked.shifted(number)
        return True

    def _join(self, parts: "list[Picked]", name: str) -> bool:
        x, channels = parts[0].x, [channel for part in parts for channel in part.channels]
        every = list(range(self.reader.structure.shape_of(x)[0]))
        if channels != every or any(part.x != x or not part.has_axis for part in parts):
            return False
        self.reader.values[name] = self.reader.structure.affine(x, np.array([n for p in parts for n in p.factors]),
                                                  np.array([n for p in parts for n in p.shifts]))
        return True
