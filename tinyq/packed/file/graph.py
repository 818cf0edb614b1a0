"""Represent a network as data: the steps of its evaluation (tinyq.inference), for any batch size."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Weight:
    """Name and shape of the tensor that holds a product's weights."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Constant:
    """Name and shape of an array that the file stores."""

    name: str
    shape: tuple[int, ...]

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape per sample: `shape` without its first axis, if that is a batch axis of 1."""
        return self.shape[1:] if len(self.shape) > 1 and self.shape[0] == 1 else self.shape


@dataclass(frozen=True)
class Node:
    """One step. inputs: the network's input (-1), numbers of earlier nodes, Constants, None. shape: per sample."""

    operation: str
    inputs: tuple
    params: dict                        # JSON of the operation; for a product: options (or None) and relu
    shape: tuple[int, ...]
    weight: Weight | None = None        # of a product; its second input, if any, is added to it

    @property
    def label(self) -> str:
        """Name of the layer with its kind, as "conv1 (Conv2d)"; of a node without weights the operation."""
        if self.weight is None:
            return self.operation
        return f"{self.weight.name} ({'Linear' if self.params['options'] is None else 'Conv2d'})"

    @property
    def product_weight(self) -> Weight:
        """The weight of a node that is a product."""
        assert self.weight is not None, self.operation
        return self.weight


@dataclass(frozen=True)
class Graph:
    """Nodes in order of computation; the last is the result."""

    input_shape: tuple[int, ...]
    nodes: tuple[Node, ...]

    def shape_of(self, number: int) -> tuple[int, ...]:
        """Return the shape of a value per sample; -1 is the input."""
        return self.input_shape if number == -1 else self.nodes[number].shape

    def label_of(self, number: int) -> str:
        """Name a value for a message: by the layer or the operation that computes it; -1 is the input."""
        return "the input" if number == -1 else self.nodes[number].label

    def products(self) -> "list[Node]":
        """Return the nodes that have weights."""
        return [node for node in self.nodes if node.weight]
