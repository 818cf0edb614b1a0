"""Sequential, a chain of layers, and ModuleList."""
from collections.abc import Iterable, Iterator

from tinyq.autodiff import Tensor
from tinyq.errors import UsageError
from tinyq.nn.module import Module


class Sequential(Module):
    """Chain of layers, each with the output of the one before as its input; their names are "0", "1", ..."""

    def __init__(self, *layers: Module) -> None:
        """Store the layers in order of execution; UsageError for one that is no Module."""
        for i, layer in enumerate(layers):
            if not isinstance(layer, Module):
                raise UsageError(f"Sequential: its layer {i} is a {type(layer).__name__}, not a Module"
                                 + ("; write nn.Sequential(*layers)" if isinstance(layer, list | tuple) else ""))
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


class ModuleList(list[Module]):
    """List of layers, for torch's name; a plain list that is an attribute holds layers just as well."""

    def __init__(self, layers: Iterable[Module] = ()) -> None:
        """Store the layers; UsageError for one that is no Module."""
        super().__init__(layers)
        for i, layer in enumerate(self):
            if not isinstance(layer, Module):
                raise UsageError(f"ModuleList: its layer {i} is a {type(layer).__name__}, not a Module")
