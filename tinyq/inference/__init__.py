"""Evaluate networks: record the steps once, then fuse batch norms, additions and ReLUs into the products."""
from tinyq.inference.fused_network import Fused

__all__ = ["Fused"]
