"""Plain backprop: train the float network, the baseline of the methods that constrain weights."""
from dataclasses import dataclass

from tinyq.methods.base import GradientMethod


@dataclass
class Backprop(GradientMethod):
    """Gradient descent on the loss of the float network; no weight is constrained, even if marked so.

    Args:
        loss: what a step lowers, and the kind of task it serves.
    """
