"""Run a network's C code on a target: its outputs, instructions per inference, and bytes of flash, RAM and stack."""
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from embedded.emulated_cores import STACK, Target
from embedded.programs import CODE, CONSTANTS, VARIABLES, compiled, linked, run, run_counted, size, symbols

MAIN = Path(__file__).with_name("main.c")
OF_MAIN = ("main", "samples", "outputs")        # symbols of main.c
CTYPES = {"uint8": "uint8_t", "int8": "int8_t", "int16": "int16_t"}


@dataclass(frozen=True)
class Network:
    """C code that computes a network.

    function: its name, `void function(const CODE *input, int32_t *output)`. sources: C files. flags: of the compiler.
    samples: (n, inputs) codes. expected: (n, outputs) int32, or None where nothing tells what the code computes.
    library: C files that many networks share, compiled once per target and flags.
    """

    function: str
    sources: list[Path]
    flags: tuple[str, ...]
    samples: np.ndarray
    expected: np.ndarray | None
    outputs: int
    library: "Library | None" = None


@dataclass(frozen=True)
class Library:
    """C files with flags of the compiler; folder: for the object files."""

    sources: tuple[Path, ...]
    flags: tuple[str, ...]
    folder: Path


@dataclass(frozen=True)
class Measured:
    """Bytes of code, constants, variables and stack, and the instructions of one inference in each function."""

    code: int
    constants: int
    ram: int
    stack: int
    functions: Counter[str]

    @property
    def instructions(self) -> int:
        """Instructions of one inference."""
        return self.functions.total()


class Wrong(Exception):
    """Code that computes other outputs than it must."""


def measured(target: Target, network: Network, folder: Path, *flags: str) -> Measured:
    """Measure a network compiled with these flags; its outputs are checked. Wrong where they differ."""
    objects = _objects(target, network, folder, flags)
    short, long = (_program(target, network, objects, folder, flags, again=again) for again in (0, 1))
    (printed, fewer), (_, more) = (run_counted(target, program) for program in (short, long))
    stack, outputs = _parsed(printed)
    _check(outputs, network, target)
    functions = more - fewer
    functions = Counter({name: n for name, n in functions.items() if name not in OF_MAIN})
    full, empty = (symbols(target, p) for p in (short, _program(target, network, [], folder, flags)))
    code, constants, ram = (size(full, kind, OF_MAIN) - size(empty, kind, OF_MAIN)
                            for kind in (CODE, CONSTANTS, VARIABLES))
    return Measured(code, constants, ram, stack, functions)


def outputs_of(target: Target, network: Network, folder: Path, *flags: str) -> np.ndarray:
    """Return the outputs (n, outputs) int32 that the target computes for all samples; Wrong where some differ."""
    objects = _objects(target, network, folder, flags)
    program = _program(target, network, objects, folder, flags, len(network.samples))
    _, outputs = _parsed(run(target, program))
    _check(outputs, network, target)
    return outputs


def _objects(target, network, folder, flags):
    own = compiled(target, network.sources, folder / "network", *network.flags, *flags)
    return own if network.library is None else own + _library(target, network.library, flags)


@cache
def _library(target, library, flags):
    return compiled(target, list(library.sources), library.folder / target.title.replace(" ", "_"), *library.flags,
                    *flags)


def _program(target, network, objects, folder, flags, samples=2, again=0):
    place = folder / (f"main_{samples}_{again}" if objects else "main")
    place.mkdir(parents=True, exist_ok=True)
    (place / "samples.h").write_text(_samples_text(network, samples))
    macros = [f"-DSAMPLES={samples}", f"-DAGAIN={again}", *([f"-DSTACK={STACK}"] if target.memory else []),
              *([f"-DNETWORK={network.function}"] if objects else [])]
    main = compiled(target, [MAIN], place, f"-I{place}", *macros, *flags)
    return linked(target, [*main, *objects], place / "program.elf")


def _samples_text(network, count):
    rows = ",\n".join("{" + ",".join(map(str, row)) + "}" for row in network.samples[:count].tolist())
    ctype = CTYPES[network.samples.dtype.name]
    return (f"#define CODE {ctype}\n#define INPUTS {network.samples.shape[1]}\n#define OUTPUTS {network.outputs}\n"
            f"static const {ctype} samples[][INPUTS] = {{\n{rows}\n}};\n")


def _parsed(printed):
    """Return (bytes of stack or 0, outputs)."""
    lines = printed.splitlines()
    stack = int(lines.pop(0).split()[1]) if lines and lines[0].startswith("stack") else 0
    return stack, np.array([line.split() for line in lines], np.int64).astype(np.int32)


def _check(outputs, network, target):
    if network.expected is None:
        return
    expected = network.expected[:len(outputs)]
    if not np.array_equal(outputs, expected):
        row, column = np.argwhere(outputs != expected)[0]
        raise Wrong(f"{target.title}: sample {row}, output {column}: {outputs[row, column]} instead of "
                    f"{expected[row, column]}")


