"""Read the structures of tinyq_runtime.h: the order of their members, and the bytes they take on a 32-bit processor."""
import importlib.resources
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

POINTER = 4
NUMBERS = {"int8_t": 1, "uint8_t": 1, "int16_t": 2, "uint16_t": 2, "int32_t": 4, "uint32_t": 4, "int64_t": 8,
           "uint64_t": 8}
Members = dict[str, Any]                # of a C structure: numbers, names, structures as Members; None: NULL
_STRUCTURE = re.compile(r"typedef struct (?:\w+ )?\{(.*?)\} (\w+);", re.DOTALL)


@dataclass(frozen=True)
class Member:
    """One member: its type, and its elements if it is an array."""

    name: str
    ctype: str
    is_pointer: bool
    count: int = 1


@cache
def structures() -> dict[str, tuple[Member, ...]]:
    """Return {name of a structure: its members in order}."""
    text = re.sub(r"/\*.*?\*/", "", runtime_text("tinyq_runtime.h"), flags=re.DOTALL)
    return {name: tuple(member for line in body.split(";") if line.strip() for member in _members(line))
            for body, name in _STRUCTURE.findall(text)}


def runtime_text(file: str) -> str:
    """Return the text of a file of the runtime."""
    return (importlib.resources.files("tinyq.packed") / "c" / file).read_text()


def size_of(ctype: str) -> int:
    """Return the bytes of a structure or a number where pointers and enumerations take 4 bytes."""
    return _layout(ctype)[0]


def braced(ctype: str, members: Members, indent: str = "") -> str:
    """Return an initialiser without names, which C++ takes too: one member per line, in the order of the header."""
    order = structures()[ctype]
    assert {member.name for member in order} == set(members), f"{ctype}: {sorted(members)}"
    inner = indent + "    "
    lines = [f"{inner}/* {member.name} */ {_value(member, members[member.name], inner)}" for member in order]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def _value(member, value, indent):
    if isinstance(value, dict):
        return braced(member.ctype, value, indent)
    return "NULL" if value is None else str(value)


def _members(line):
    """Read one declaration, such as `const int32_t *a, *b` or `int32_t count[3], step`."""
    kind, *rest = re.sub(r"\b(const|volatile|struct)\b", "", line).split(maxsplit=1)
    for text in rest[0].split(","):
        found = re.fullmatch(r"[\s*]*(\w+)\s*(?:\[(\d+)\])?\s*", text)
        assert found, text
        yield Member(found[1], kind, "*" in text, int(found[2] or 1))


def _layout(ctype):
    """Return (size, alignment)."""
    if ctype not in structures():
        return (NUMBERS.get(ctype, POINTER),) * 2
    end, widest = 0, 1
    for member in structures()[ctype]:
        size, alignment = (POINTER, POINTER) if member.is_pointer else _layout(member.ctype)
        end = -(-end // alignment) * alignment + size * member.count
        widest = max(widest, alignment)
    return -(-end // widest) * widest, widest
