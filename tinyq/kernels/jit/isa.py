"""The instruction sets of the integer kernels, and which of them is used here."""
import os
from dataclasses import dataclass

from tinyq.errors import UsageError, did_you_mean
from tinyq.kernels.jit.availability import numba_is_there

MAX_NARROW = 64                        # the largest level that pairs of 8-bit products hold in 16 bits


@dataclass(frozen=True)
class Isa:
    """How an instruction set does it. wide: it sums four 8-bit products in 32 bits at once, levels up to 127.

    tiles: rows of byte codes are multiplied in AMX's tile registers, the rest as `vnni` does.
    """

    name: str
    needs: frozenset[str]
    rows: int                           # of a tile: with two vectors of sums a row, what the registers hold
    lanes: int                          # 32-bit, of a vector
    wide: bool
    tiles: bool

    @property
    def step_multiple(self) -> int:
        """What the number of steps of a row of byte codes is a multiple of."""
        return 16 if self.tiles else 1

    @property
    def vector_rows(self) -> int:
        """Of a tile of 16-bit codes, which vectors multiply: a divisor of `rows`."""
        return self.rows // 4 if self.tiles else self.rows


ISAS = tuple(Isa(name, frozenset(needs.split()), rows, lanes, wide, tiles)
             for name, needs, rows, lanes, wide, tiles in (
    ("amx", "avx512f avx512bw avx512vnni amx-tile amx-int8", 32, 16, True, True),
    ("vnni", "avx512f avx512bw avx512vnni", 14, 16, True, False),
    ("avx512", "avx512f avx512bw", 12, 16, False, False),
    ("avxvnni", "avx2 avxvnni", 6, 8, True, False),
    ("avx2", "avx2", 5, 8, False, False),
))
NUMPY = "numpy"                         # NumPy alone, no kernels
FORCED = "TINYQ_ISA"


def available() -> list[str]:
    """The instruction sets of the target that numba compiles for, the best first, and at last NumPy alone.

    Without numba there is NumPy alone.
    """
    if not numba_is_there():
        return [NUMPY]
    from tinyq.kernels.jit.target import target_features, tiles_refused

    features = target_features()
    return [isa.name for isa in ISAS if isa.needs <= features and not (isa.tiles and tiles_refused())] + [NUMPY]


def choose():
    """(the Isa or None for NumPy alone, what to tell the user or None): the best there is, or what TINYQ_ISA forces.

    One that is not to be had here gives way to the best that is; UsageError for a name that does not exist.
    """
    there, wanted = available(), os.environ.get(FORCED)
    names = [*(isa.name for isa in ISAS), NUMPY]
    if wanted and wanted not in names:
        raise UsageError(f"{FORCED}={wanted}: {did_you_mean(wanted, names)}")
    name = wanted if wanted in there else there[0]
    note = None
    if numba_is_there() and name != wanted:             # what is said without numba is said already
        note = _what_is_missing(wanted, name)
    return next((isa for isa in ISAS if isa.name == name), None), note


def _what_is_missing(wanted, name):
    from tinyq.kernels.jit.target import tiles_refused

    if tiles_refused() and wanted in (None, "", "amx"):
        return f"this process may not use the processor's AMX tiles ({tiles_refused()}); {name} computes, slower"
    if wanted:
        return f"{FORCED}={wanted}: this machine does not have it; {name} computes"
    return "no integer kernels for this processor; NumPy computes, slower" if name == NUMPY else None


ISA, NOTE = choose()
SHAPE = ISA or ISAS[-1]                # something to define the functions for, which then nobody calls
