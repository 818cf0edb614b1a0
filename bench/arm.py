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

from common.machine_code import machine_code

# (what, instruction set, kernel)
FLOAT_TILE = ("float32", "neon", "packed_tile")
FLOATS = (FLOAT_TILE, ("float32, gathering", "neon", "gathering_tile"))
INT16 = ("int16", "neon", "short_tile")
NEON = (*FLOATS, ("int8", "neon", "byte_tile"), ("int8, levels up to 31", "neon", "small_tile"), INT16)
SDOT = ("int8, sdot", "dotprod", "byte_tile")
# core -> the tiles that run on it; v1 with sdot too, for comparison
TILES = {"cortex-a53": NEON, "cortex-a72": NEON, "neoverse-n1": (*FLOATS, SDOT, INT16),
         "neoverse-v1": (*FLOATS, SDOT, ("int8, usmmla", "i8mm", "byte_tile"), INT16)}
# multiply-add instruction, with the kind of its first operand's lanes -> products
PRODUCTS = {"fmla.4s": 4, "sdot.4s": 16, "usmmla.4s": 32, "usdot.4s": 16,
            **{f"{name}{half}{kind}": count for name in ("smull", "smlal") for half in ("", "2")
               for kind, count in ((".8h", 8), (".4s", 4))}}
ITERATIONS = 200


@dataclass(frozen=True)
class Loop:
    """The inner loop of a tile: its instructions, and how many of them multiply, by name."""

    instructions: tuple[str, ...]
    multiplies: dict[str, int]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one iteration."""
        return sum(PRODUCTS[name] * count for name, count in self.multiplies.items())


def inner_loop(code: str) -> Loop:
    """Return the loop without a loop inside that has the most multiply-accumulates."""
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
    return max(loops, key=lambda loop: loop.macs)


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
    operands = {"fmla": ("4s", "s[0]"), "sdot": ("16b", "4b[0]"), "usdot": ("16b", "4b[0]"), "usmmla": ("16b", "16b")}
    total = 0.0
    for name, count in multiplies.items():
        base, kind = name.split(".")
        narrow = {"8h": "8b", "4s": "4h"}[kind] if base.startswith("sm") else ""
        narrow = {"8b": "16b", "4h": "8h"}[narrow] if base.endswith("2") else narrow
        first, second = operands.get(base, (narrow, narrow))
        together = [f"{base} v{i}.{kind}, v24.{first}, v25.{second}" for i in range(16)]
        total += cycles(mca, cpu, tuple(together)) / len(together) * count
    return total


def modelled(mca: str, cpu: str, isa: str, kernel: str) -> tuple[float, float]:
    """Return multiply-accumulates a cycle, and the share of the multiply instructions' peak."""
    loop = inner_loop(machine_code(isa, cpu, kernel))
    if not loop.macs:
        raise ValueError(f"no loop with products in {kernel} for {cpu}")
    taken = cycles(mca, cpu, loop.instructions)
    return loop.macs / taken, peak(mca, cpu, loop.multiplies) / taken


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
        base, _ = modelled(chosen.mca, cpu, *FLOAT_TILE[1:])
        for what, isa, kernel in TILES[cpu]:
            rate, share = modelled(chosen.mca, cpu, isa, kernel)
            print(f"| {cpu} | {what} | {rate:.2f} | {1 / rate:.3f} | {share:.0%} | {rate / base:.2f} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
