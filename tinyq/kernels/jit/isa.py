"""The instruction sets of the integer kernels, and the choice among them."""
from dataclasses import dataclass

from tinyq.kernels.jit.availability import numba_is_there
from tinyq.kernels.jit.variables import FORCED_ISA, forced_isa

MAX_NARROW = 64                        # the largest level that pairs of 8-bit products hold in 16 bits
MAX_SMALL = 31                         # the largest of which eight products with -128 ... 127 do


@dataclass(frozen=True)
class Isa:
    """Tile sizes and abilities of an instruction set.

    wide: it sums four 8-bit products in 32 bits at once, with levels up to 127.

    tiles: rows of byte codes are multiplied in AMX's tile registers, the rest as by `vnni`.

    neon: the vectors are NEON's. dots: its instructions sum products of bytes in 32 bits. signed: bytes of codes are
    multiplied as signed numbers. run: codes of one row that meet one vector of levels.

    beyond_base: instruction sets that LLVM must be told of where the processor's name does not imply them.
    """

    name: str
    needs: frozenset[str]
    rows: int                           # of a tile: with two vectors of sums per row, as many as the registers hold
    lanes: int                          # 32-bit, of a vector
    wide: bool
    tiles: bool
    neon: bool = False
    dots: bool = False
    signed: bool = False
    run: int = 4
    beyond_base: str = ""

    @property
    def step_multiple(self) -> int:
        """Divisor of the number of steps of a row of byte codes."""
        return 16 if self.tiles else self.run // 4

    @property
    def vector_rows(self) -> int:
        """Rows of a tile of 16-bit codes, which vectors multiply: a divisor of `rows`."""
        return self.rows // 4 if self.tiles else self.rows


X86 = tuple(Isa(name, frozenset(needs.split()), rows, lanes, wide, tiles)
             for name, needs, rows, lanes, wide, tiles in (
    ("amx", "avx512f avx512bw avx512vnni amx-tile amx-int8", 32, 16, True, True),
    ("vnni", "avx512f avx512bw avx512vnni", 14, 16, True, False),
    ("avx512", "avx512f avx512bw", 12, 16, False, False),
    ("avxvnni", "avx2 avxvnni", 6, 8, True, False),
    ("avx2", "avx2", 5, 8, False, False),
))
ARM = (
    Isa("i8mm", frozenset({"neon", "dotprod", "i8mm"}), 8, 4, True, False, neon=True, dots=True, run=8,
        beyond_base="+neon,+dotprod,+i8mm"),
    Isa("dotprod", frozenset({"neon", "dotprod"}), 8, 4, True, False, neon=True, dots=True, signed=True,
        beyond_base="+neon,+dotprod"),
    Isa("neon", frozenset({"neon"}), 4, 4, True, False, neon=True, signed=True),
)
ISAS = X86 + ARM                        # of each family, the best first
NUMPY = "numpy"                         # NumPy alone, no kernels


def available() -> list[str]:
    """List the instruction sets of numba's target, the best first, and NumPy alone as the last.

    Without numba the list is NumPy alone.
    """
    if not numba_is_there():
        return [NUMPY]
    from tinyq.kernels.jit.target import target_features, tiles_refused

    features = target_features()
    return [isa.name for isa in ISAS if isa.needs <= features and not (isa.tiles and tiles_refused())] + [NUMPY]


def choose() -> tuple[Isa | None, str | None]:
    """Return the best instruction set here, or the one TINYQ_ISA forces (None: NumPy alone), and a note for the user.

    An instruction set that this machine lacks gives way to the best it has; UsageError for an unknown name.
    """
    there, wanted = available(), forced_isa()
    name = wanted if wanted in there else there[0]
    note = None
    if numba_is_there() and name != wanted:             # without numba there is a line about that already
        note = _what_is_missing(wanted, name)
    return next((isa for isa in ISAS if isa.name == name), None), note


def _what_is_missing(wanted, name):
    from tinyq.kernels.jit.target import tiles_refused

    if tiles_refused() and wanted in (None, "amx"):
        return f"this process may not use the processor's AMX tiles ({tiles_refused()}); {name} computes, slower"
    if wanted:
        return f"{FORCED_ISA}={wanted}: this machine does not have it; {name} computes"
    return "no integer kernels for this processor; NumPy computes, slower" if name == NUMPY else None


ISA, NOTE = choose()
NARROWEST = next((isa for isa in reversed(ISAS) if isa.name in available()), X86[-1])
SHAPE = ISA or NARROWEST               # the functions are defined for some shape even where nobody calls them
