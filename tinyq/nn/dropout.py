"""Dropout, with a random stream per layer and training step."""
from tinyq.autodiff import Tensor, activations
from tinyq.errors import UsageError
from tinyq.nn.module import Module


class Dropout(Module):
    """Dropout: in training, zero each value with probability p and divide the others by 1 - p; in evaluation, y = x.

    Forward passes of one step draw from the same stream in turn. UsageError in training before `key_step`.
    """

    draws = "dropout"

    def __init__(self, p: float = 0.5) -> None:
        """Store the probability; UsageError unless it is in [0, 1]."""
        if not 0 <= p <= 1:
            raise UsageError(f"Dropout: p is {p}; it must be in [0, 1]")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Return y, of x's shape."""
        if not self.training or self.p == 0:
            return x
        if self.stream is None:
            raise UsageError("dropout has no random stream: call model.key_step(streams, epoch, step) before each step")
        kept = self.stream.uniform(x.shape) >= self.p
        return activations.dropout(x, p=self.p, mask=kept)

    def describe(self) -> str:
        """Return the probability."""
        return f"p={self.p}"
