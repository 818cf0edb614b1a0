"""Networks as they are evaluated: recorded once, their batch norms, additions and ReLUs done within the products."""
from tinyq.inference.fused_network import Fused

__all__ = ["Fused"]
