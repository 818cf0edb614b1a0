"""The networks that come with tinyq, and how a network is named on the command line."""
from tinyq.models.registry import OPTIONAL_PREFIXES, REGISTRY, build

__all__ = ["OPTIONAL_PREFIXES", "REGISTRY", "build"]
