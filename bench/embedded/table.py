"""Results of bench/edge.py, and their rows in a Markdown table."""
from collections.abc import Mapping
from typing import TypedDict

from embedded.emulated_cores import TARGETS
from embedded.instructions import Measured

TINYQ, CMSIS = "tinyq", "CMSIS-NN"
HEAD = ["network, core", "instructions: tinyq", "CMSIS-NN", "ratio", "flash: tinyq", "CMSIS-NN", "ratio", "RAM: tinyq",
        "CMSIS-NN", "stack: tinyq", "CMSIS-NN"]
USUAL = ("ternary", "int8", "-O2")
NO_ROOM, NONE = "no room", "-"


class Numbers(TypedDict):
    """Instructions of one inference, and bytes."""

    instructions: int
    code: int
    constants: int
    ram: int
    stack: int


def numbers(measured: Measured) -> Numbers:
    """Return what a result file holds of a measurement."""
    return {"instructions": measured.instructions, "code": measured.code, "constants": measured.constants,
            "ram": measured.ram, "stack": measured.stack}


def head() -> str:
    """Return the table's first two lines."""
    return f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}"


def row(key: str, found: Mapping[str, Numbers]) -> str:
    """Return a line of the table; found: by contender, without those that have no room on the core."""
    name = title(key)
    ours, theirs = found.get(TINYQ), found.get(CMSIS)
    if not found:
        return f"| {name} | {' | '.join([NO_ROOM] + [NONE] * (len(HEAD) - 2))} |"
    cells = [*_both(ours, theirs, "instructions"), *_both(ours, theirs, "code", "constants"),
             *_both(ours, theirs, "ram")[:2], *_both(ours, theirs, "stack")[:2]]
    return f"| {name} | {' | '.join(cells)} |"


def key_of(network: str, levels: str, activations: str, optimisation: str, core: str) -> str:
    """Return the name of a row in a result file."""
    return " ".join((network, levels, activations, optimisation, core))


def title(key: str) -> str:
    """Return the first cell of a row, which leaves out what is usual."""
    network, levels, activations, optimisation, core = key.split()
    unusual = [given for given, usual in zip((levels, activations, optimisation), USUAL, strict=True) if given != usual]
    return ", ".join((network, *unusual, TARGETS[core].title))


def _both(ours, theirs, *keys):
    """Cells: the sum of some numbers for both contenders, and the ratio."""
    a, b = (None if found is None else sum(found[key] for key in keys) for found in (ours, theirs))
    return [NONE if n is None else f"{n:,}" for n in (a, b)] + [f"**{a / b:.2f}**" if a and b else NONE]
