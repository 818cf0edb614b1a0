"""Compile C programs for a target, run them under QEMU, and count their instructions and bytes by function."""
import bisect
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from embedded.emulated_cores import Target

PLUGIN = Path(__file__).with_name("count_instructions.c")
SECONDS, SHOWN = 600, 4000
CODE, CONSTANTS, VARIABLES = "code", "constants", "variables"


class Failed(Exception):
    """A compiler or an emulated program failed."""


class TooLarge(Failed):
    """A program has no room in the target's memory."""


def compiled(target: Target, sources: list[Path], folder: Path, *flags: str) -> list[Path]:
    """Compile C files into object files of a folder, which is made; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    objects = [folder / f"{source.stem}.o" for source in sources]
    for source, result in zip(sources, objects, strict=True):
        _command([*target.compiler, "-ffunction-sections", "-fdata-sections", *flags, "-c", source, "-o", result])
    return objects


def linked(target: Target, objects: list[Path], program: Path) -> Path:
    """Link object files without the functions that nothing calls."""
    _command([*target.linker, *objects, "-Wl,--gc-sections", "-o", program])
    return program


def run(target: Target, program: Path) -> str:
    """Run a program under QEMU and return what it prints; Failed unless it exits with 0."""
    return _command([*target.emulator, program])


def run_counted(target: Target, program: Path) -> tuple[str, Counter[str]]:
    """Run a program; return what it prints, and the instructions executed in each function."""
    counts = program.with_suffix(".counts")
    emulator, *arguments = target.emulator
    printed = _command([emulator, "-plugin", f"{_plugin(emulator, program.parent)},out={counts}", *arguments, program])
    return printed, _by_function(symbols(target, program), counts.read_text())


@cache
def _plugin(emulator, folder):
    """Compile the plugin that counts instructions, for this machine."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise Failed("gcc is not installed: the plugin that counts instructions cannot be compiled")
    major = int(re.search(r"version (\d+)", _command([emulator, "--version"]))[1])
    result = folder / "count_instructions.so"
    _command([compiler, "-O2", "-shared", "-fPIC", f"-DVERSION={1 if major < 9 else 2}", PLUGIN, "-o", result])
    return result


@dataclass(frozen=True, order=True)
class Symbol:
    """A function or an array in a program; kind: CODE, CONSTANTS or VARIABLES."""

    address: int
    size: int
    kind: str
    name: str


def symbols(target: Target, program: Path) -> list[Symbol]:
    """Return the functions and arrays of a program that have a size, by address."""
    found = []
    for line in _command([f"{target.tools}nm", "-f", "sysv", program]).splitlines():
        parts = [part.strip() for part in line.split("|")]
        if len(parts) == 7 and parts[4] and parts[3] in ("FUNC", "OBJECT"):
            name, address, letter, type_, size, *_ = parts
            kind = CODE if type_ == "FUNC" else VARIABLES if letter in "dDbB" else CONSTANTS
            found.append(Symbol(int(address, 16) & ~(type_ == "FUNC"), int(size, 16), kind, name))
    return sorted(found)


def size(found: list[Symbol], kind: str, but: Collection[str] = ()) -> int:
    """Add up the bytes of symbols of a kind, each address once; but: names of those that do not count."""
    return sum({symbol.address: symbol.size for symbol in found if symbol.kind == kind and symbol.name not in but
                }.values())


def _by_function(found, counts):
    functions = [symbol for symbol in found if symbol.kind == CODE]
    starts = [symbol.address for symbol in functions]
    executed: Counter[str] = Counter()
    for line in counts.splitlines():
        address, n = int(line.split()[0], 16), int(line.split()[1])
        at = bisect.bisect_right(starts, address) - 1
        inside = at >= 0 and address < starts[at] + functions[at].size
        executed[functions[at].name if inside else "?"] += n
    return executed


def _command(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=SECONDS)
    if done.returncode:
        said = (done.stdout + done.stderr)[-SHOWN:]
        raise (TooLarge if " will not fit in region " in said else Failed)(
            f"{command[0]} ... {command[-1]}: exit {done.returncode}\n{said}")
    return done.stdout
