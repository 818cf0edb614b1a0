"""Build networks by name: those that come with tinyq, and a user's own."""
from tinyq.models.registry import OPTIONAL_PREFIXES, REGISTRY, build

__all__ = ["OPTIONAL_PREFIXES", "REGISTRY", "build"]
