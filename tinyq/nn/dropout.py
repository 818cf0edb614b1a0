"""Dropout, its mask drawn from a stream that the training loop names by epoch and step."""
from tinyq.autodiff import Tensor, dropout_mask
from tinyq.errors import UsageError
from tinyq.nn.module import Module


class Dropout(Module):
    """Training: each value is zeroed with probability p, the others divided by 1 - p. Evaluation: nothing.

    Several forward passes within a step draw one after the other from the step's stream.
    """

    draws = "dropout"

    def __init__(self, p: float = 0.5) -> None:
        """Store the probability."""
        if not 0 <= p <= 1:
            raise UsageError(f"Dropout: p is {p}; it must be in [0, 1]")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as x."""
        if not self.training or self.p == 0:
            return x
        if self.stream is None:
            raise UsageError("dropout has no random stream: call model.key_step(streams, epoch, step) before each step")
        kept = self.stream.uniform(x.shape) >= self.p
        return dropout_mask.dropout(x, p=self.p, mask=kept)

    def describe(self) -> str:
        """The probability."""
        return f"p={self.p}"
