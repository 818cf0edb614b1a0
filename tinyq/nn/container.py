"""Sequential: layers one after the other."""
from collections.abc import Iterator

from tinyq.autodiff import Tensor
from tinyq.nn.module import Module


class Sequential(Module):
    """Each layer's output is the next one's input; the layers are named "0", "1", ..."""

    def __init__(self, *layers: Module) -> None:
        """Take the layers in order."""
        for i, layer in enumerate(layers):
            setattr(self, str(i), layer)

    def __iter__(self) -> Iterator[Module]:
        """The layers in order."""
        return (value for value in vars(self).values() if isinstance(value, Module))

    def __len__(self) -> int:
        """Number of layers."""
        return sum(1 for _ in self)

    def __getitem__(self, index: int) -> Module:
        """The layer at `index`."""
        return list(self)[index]

    def forward(self, x: Tensor) -> Tensor:
        """Through every layer."""
        for layer in self:
            x = layer(x)
        return x
