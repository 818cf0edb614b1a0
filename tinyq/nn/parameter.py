"""Parameter: a tensor that is trained, and how its layer gets to see it."""
from tinyq.autodiff import Tensor


class Parameter(Tensor):
    """A trained tensor. A method that constrains it to levels installs a view.

    constrained: whether a method constrains it. constrainable: whether it may be asked to; the layer that makes it says
    so once and for all. view: None, or a function from the latent tensor to (tensor in units of the scale, scale): the
    layer computes scale * (x * tensor) with scale an array (c_out,) or None.
    """

    def __init__(self, data, constrained=False):
        """Take over the array; gradients are wanted."""
        super().__init__(data, requires_grad=True)
        self.constrained = self.constrainable = constrained
        self.view = None

    def shown(self):
        """What the layer computes with: (tensor, scale or None)."""
        return self.view(self) if self.view else (self, None)
