"""Plain backprop: the float network, and the yardstick for the methods that constrain its weights."""
from dataclasses import dataclass

from tinyq.methods.base import GradientMethod


@dataclass
class Backprop(GradientMethod):
    """Gradient descent on the loss of the float network; no weight is constrained, whatever is marked.

    Args:
        label_smoothing: share of each label spread over all classes; in [0, 1).
    """
