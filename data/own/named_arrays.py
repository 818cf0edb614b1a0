"""Find the inputs and targets of each part among named arrays: x_train, y_train, x_test and so on, or x and y."""
from collections.abc import Iterable
from dataclasses import dataclass

from tinyq.errors import BadInput

X, Y = ("x", "inputs", "images", "features", "data"), ("y", "targets", "target", "labels", "label")
PARTS = {"train": ("train", "training"), "validation": ("validation", "valid", "val", "dev"),
         "test": ("test", "testing")}
WHOLE = ""                              # the part of x and y: all samples
CLASS_NAMES = "class_names"


@dataclass(frozen=True)
class Named:
    """Names of arrays: {part: (name of the inputs, name of the targets)}, of the classes' names, and of others."""

    parts: dict[str, tuple[str, str]]
    class_names: str | None
    others: list[str]


def find(names: Iterable[str], where: str) -> Named:
    """Match names in any case; BadInput, with `where`, where a part lacks its inputs or targets, or none is there."""
    found: dict[str, dict[str, str]] = {}
    others, class_names = [], None
    for name in names:
        role = _ROLES.get(name.lower())
        if name.lower() == CLASS_NAMES:
            class_names = name
        elif role is None:
            others.append(name)
        elif found.setdefault(role[0], {}).setdefault(role[1], name) != name:
            raise BadInput(f"{where}: {found[role[0]][role[1]]!r} and {name!r} are both the {_said(role)}; remove one")
    _check(found, others, where)
    return Named({part: (pair["x"], pair["y"]) for part, pair in found.items()}, class_names, others)


def _check(found, others, where):
    held = f"; it holds {', '.join(map(repr, others[:8]))}" if others else ""
    for part, pair in found.items():
        for role in ("x", "y"):
            if role not in pair:
                other = next(iter(pair.values()))
                raise BadInput(f"{where}: {other!r} has no {_spelled(role, part)} beside it{held}")
    if not found:
        raise BadInput(f"{where}: neither x_train and y_train nor x and y here{held or '; it is empty'}")
    if WHOLE in found and len(found) > 1:
        raise BadInput(f"{where}: x and y stand beside x_{next(p for p in found if p)}; name the part of each")
    if WHOLE not in found and "train" not in found and "test" not in found:
        raise BadInput(f"{where}: lacks x_train and y_train{held}")


def _spelled(role, part):
    return f"{role}_{part}" if part else role


def _said(role):
    part, what = role
    return ("inputs" if what == "x" else "targets") + (f" of the {part} part" if part else "")


_ROLES = {word: (WHOLE, role) for role, words in (("x", X), ("y", Y)) for word in words}
_ROLES |= {form: (part, role) for role, words in (("x", X), ("y", Y)) for word in words
           for part, spellings in PARTS.items() for spelling in spellings
           for form in (f"{word}_{spelling}", f"{spelling}_{word}")}
