"""Sequential: a chain of layers."""
from collections.abc import Iterator

from tinyq.autodiff import Tensor
from tinyq.nn.module import Module


class Sequential(Module):
    """Chain of layers, each with the output of the one before as its input; their names are "0", "1", ..."""

    def __init__(self, *layers: Module) -> None:
        """Store the layers in order of execution."""
        for i, layer in enumerate(layers):
            setattr(self, str(i), layer)

    def __iter__(self) -> Iterator[Module]:
        """Iterate over the layers in order."""
        return (value for value in vars(self).values() if isinstance(value, Module))

    def __len__(self) -> int:
        """Return the number of layers."""
        return sum(1 for _ in self)

    def __getitem__(self, index: int) -> Module:
        """Return the layer at `index`."""
        return list(self)[index]

    def forward(self, x: Tensor) -> Tensor:
        """Pass x through all layers."""
        for layer in self:
            x = layer(x)
        return x
