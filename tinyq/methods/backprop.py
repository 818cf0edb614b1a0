"""Plain backprop: the float network, and the yardstick for the methods that constrain its weights."""
from dataclasses import dataclass

from tinyq.methods.base import GradientMethod


@dataclass
class Backprop(GradientMethod):
    """Gradient descent on the loss; no weight is constrained, whatever is marked."""
