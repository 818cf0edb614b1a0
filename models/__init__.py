"""The networks that come with tinyq, and how a network is named on the command line."""
from tinyq.models.registry import REGISTRY, build

__all__ = ["REGISTRY", "build"]
