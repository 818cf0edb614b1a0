"""Build networks by name: those that come with tinyq, and a user's own."""
from tinyq.models.registry import OPTIONAL_PREFIXES, REGISTRY, build
from tinyq.models.user import UserFile, names_code

__all__ = ["OPTIONAL_PREFIXES", "REGISTRY", "UserFile", "build", "names_code"]
