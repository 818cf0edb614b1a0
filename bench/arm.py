"""Model the register tiles on AArch64 cores, on any machine.

    python bench/arm.py [--cpus cortex-a72 ...] [--mca llvm-mca-19]

Compiles each tile for each core with llvmlite and gives its inner loop to LLVM's machine code analyzer (llvm-mca,
Debian's package llvm-19), which counts cycles with the model of the core that LLVM schedules by; operands are in the
first-level cache. The peak is the same analyzer's for the tile's multiply-add instruction alone, with accumulators that
wait for nothing. LLVM's model of cortex-a72 is that of the Cortex-A57.
"""
import argparse
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import NamedTuple

from common.machine_code import machine_code


class Tile(NamedTuple):
    """A tile: what it multiplies, its instruction set, the kernel, and the products of each multiply-accumulate."""

    what: str
    isa: str
    kernel: str
    parts: int = 1                      # 2: the bytes of a 16-bit code are multiplied on their own


FLOAT_TILE = Tile("float32", "neon", "packed_tile")
FLOATS = (FLOAT_TILE, Tile("float32, gathering", "neon", "gathering_tile"))
NEON = (*FLOATS, Tile("int8", "neon", "byte_tile"), Tile("int8, levels up to 31", "neon", "small_tile"),
        Tile("int16", "neon", "short_tile"))
DOTPROD = (Tile("int8, dotprod", "dotprod", "byte_tile"), Tile("int16, dotprod", "dotprod", "short_tile", 2))
I8MM = (Tile("int8, i8mm", "i8mm", "byte_tile"), Tile("int16, i8mm", "i8mm", "short_tile", 2))
# core -> the tiles that run on it; neoverse-v1 with dotprod too, for comparison
TILES = {"cortex-a53": NEON, "cortex-a72": NEON, "neoverse-n1": FLOATS + DOTPROD,
         "neoverse-v1": FLOATS + DOTPROD + I8MM}
# multiply-add instruction, with the kind of its first operand's lanes -> products
PRODUCTS = {"fmla.4s": 4, "sdot.4s": 16, "usmmla.4s": 32, "smmla.4s": 32, "usdot.4s": 16,
            **{f"{name}{half}{kind}": count for name in ("smull", "smlal") for half in ("", "2")
               for kind, count in ((".8h", 8), (".4s", 4))}}
ITERATIONS = 200


@dataclass(frozen=True)
class Loop:
    """The inner loop of a tile: its instructions, and how many of them multiply, by name."""

    instructions: tuple[str, ...]
    multiplies: dict[str, int]

    @property
    def products(self) -> int:
        """Products of one iteration."""
        return sum(PRODUCTS[name] * count for name, count in self.multiplies.items())


def inner_loop(code: str) -> Loop:
    """Return the loop without a loop inside that has the most products."""
    lines = [line.split("//")[0].strip() for line in code.splitlines()]
    label_at = {line[:-1]: i for i, line in enumerate(lines) if re.fullmatch(r"[.\w]+:", line)}
    loops = [Loop((), {})]
    for end, line in enumerate(lines):
        target = re.match(r"(?:b\.\w+|cbn?z|tbn?z)\s+(?:.*,\s*)?(\.\w+)$", line)
        start = label_at.get(target[1], end) if target else end
        body = lines[start + 1:end]
        if start < end and not any(other.endswith(":") for other in body):
            instructions = tuple(other for other in body if other and not other.startswith("."))
            loops.append(Loop(instructions, _multiplies(instructions)))
    return max(loops, key=lambda loop: loop.products)


def _multiplies(instructions):
    counts: dict[str, int] = {}
    for line in instructions:
        found = re.match(r"(\w+)\s+v\d+(\.\d+\w)", line)
        name = found and found[1] + found[2]
        if name in PRODUCTS:
            counts[name] = counts.get(name, 0) + 1
    return counts


def cycles(mca: str, cpu: str, instructions: tuple[str, ...]) -> float:
    """Return the modelled cycles of one iteration of a loop of these instructions."""
    def total(iterations):
        command = [mca, "-mtriple=aarch64-linux-gnu", f"-mcpu={cpu}", f"-iterations={iterations}"]
        said = subprocess.run(command, input="\n".join(instructions), check=True, capture_output=True, text=True).stdout
        return int(re.search(r"Total Cycles:\s+(\d+)", said)[1])

    return (total(2 * ITERATIONS) - total(ITERATIONS)) / ITERATIONS          # without the way into the loop


def peak(mca: str, cpu: str, multiplies: dict[str, int]) -> float:
    """Return the cycles of the multiply instructions alone: one accumulator each, operands that are there."""
    operands = {"fmla": ("4s", "s[0]"), "sdot": ("16b", "4b[0]"), "usdot": ("16b", "4b[0]"), "usmmla": ("16b", "16b"),
                "smmla": ("16b", "16b")}
    total = 0.0
    for name, count in multiplies.items():
        base, kind = name.split(".")
        narrow = {"8h": "8b", "4s": "4h"}[kind] if base.startswith(("smull", "smlal")) else ""
        narrow = {"8b": "16b", "4h": "8h"}[narrow] if base.endswith("2") else narrow
        first, second = operands.get(base, (narrow, narrow))
        together = [f"{base} v{i}.{kind}, v24.{first}, v25.{second}" for i in range(16)]
        total += cycles(mca, cpu, tuple(together)) / len(together) * count
    return total


def modelled(mca: str, cpu: str, tile: Tile) -> tuple[float, float]:
    """Return multiply-accumulates a cycle, and the share of the multiply instructions' peak."""
    loop = inner_loop(machine_code(tile.isa, cpu, tile.kernel))
    if not loop.products:
        raise ValueError(f"no loop with products in {tile.kernel} for {cpu}")
    taken = cycles(mca, cpu, loop.instructions)
    return loop.products / tile.parts / taken, peak(mca, cpu, loop.multiplies) / taken


def analyzer() -> str | None:
    """Return the newest llvm-mca on the path."""
    names = [f"llvm-mca-{version}" for version in range(30, 15, -1)]
    return next(filter(None, map(shutil.which, [*names, "llvm-mca"])), None)


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cpus", nargs="+", choices=TILES, default=TILES)
    parser.add_argument("--mca", default=analyzer(), help="the analyzer (the newest llvm-mca on the path)")
    chosen = parser.parse_args(arguments)
    if not chosen.mca:
        parser.error("no llvm-mca on the path: apt-get install llvm-19")
    version = subprocess.run([chosen.mca, "--version"], capture_output=True, text=True, check=True).stdout
    print(f"llvm-mca {re.search(r'version ([0-9.]+)', version)[1]}", end="\n\n")
    print("| core | tile | MACs a cycle | cycles per MAC | share of the peak | times float32 |")
    print("|---|---|---|---|---|---|")
    for cpu in chosen.cpus:
        base, _ = modelled(chosen.mca, cpu, FLOAT_TILE)
        for tile in TILES[cpu]:
            rate, share = modelled(chosen.mca, cpu, tile)
            print(f"| {cpu} | {tile.what} | {rate:.2f} | {1 / rate:.3f} | {share:.0%} | {rate / base:.2f} |",
                  flush=True)


if __name__ == "__main__":
    sys.exit(main())
