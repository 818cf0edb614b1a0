"""Objects that stand in for those of a pickle, so that none of its own is made."""
from collections.abc import Sequence

KEYS = (str, bytes, int, bool, float, type(None))      # types of a dict's keys


class Inert(dict):
    """An object of a class that the reader does not know. It keeps the items that it is given, and does nothing."""

    def __init__(self, name: str):
        """name: "module.name" of the global it was made with."""
        super().__init__()
        self.name = name
        self.state: object = None                       # argument of its BUILD: the attributes of an object


class Unnamed:
    """A key of a dict that is neither a text nor a number."""


def ordered(items: Sequence[Sequence] | dict = ()) -> dict:
    """Make a dict of (key, value) pairs, as Python 2 saves an OrderedDict; TypeError for other items."""
    if isinstance(items, dict):
        return dict(items)
    if not all(type(pair) in (list, tuple) and len(pair) == 2 and type(pair[0]) in KEYS for pair in items):
        raise TypeError("an OrderedDict is made of pairs")
    return {pair[0]: pair[1] for pair in items}


def latin_1(value: str | bytes = b"", coding: str = "latin1") -> bytes:
    """Make bytes, which Python 3 writes as a text in protocols below 3; TypeError for other values."""
    if not isinstance(value, str | bytes) or coding not in ("latin1", "latin-1"):
        raise TypeError("bytes are not written as Latin-1")
    return value.encode("latin-1") if isinstance(value, str) else value


def reconstructed(kind: object, base: object, state: object) -> Inert:
    """Make the object of an unknown class as protocols below 2 do; a dict of its own kind keeps its items."""
    made = Inert(kind.name if isinstance(kind, Inert) else "an unknown class")
    made.update(state if isinstance(state, dict) else {})
    return made


CONTAINERS: dict[str, object] = {
    "collections OrderedDict": ordered, "collections defaultdict": lambda factory=None: {}, "_codecs encode": latin_1,
    **{f"{module} {name}": latin_1 for module in ("builtins", "__builtin__") for name in ("bytes", "bytearray")},
    **{f"{module} _reconstructor": reconstructed for module in ("copyreg", "copy_reg")},
}
