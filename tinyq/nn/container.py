"""Sequential: layers one after the other."""
from tinyq.nn.module import Module


class Sequential(Module):
    """Each layer's output is the next one's input; the layers are named "0", "1", ..."""

    def __init__(self, *layers):
        """Take the layers in order."""
        for i, layer in enumerate(layers):
            setattr(self, str(i), layer)

    def __iter__(self):
        """The layers in order."""
        return (value for value in vars(self).values() if isinstance(value, Module))

    def __len__(self):
        """Number of layers."""
        return sum(1 for _ in self)

    def __getitem__(self, index):
        """The layer at `index`."""
        return list(self)[index]

    def forward(self, x):
        """Through every layer."""
        for layer in self:
            x = layer(x)
        return x
