"""Describe what the kernels found on this machine and chose for it."""
import llvmlite
import numba
from numba.core.registry import cpu_target

from tinyq.kernels.jit import isa
from tinyq.kernels.jit.cache import cache_folder
from tinyq.kernels.jit.cores import usable_cores
from tinyq.kernels.jit.target import target_features
from tinyq.kernels.simd.vectors import LANES, MR, NR, PLAIN_SHAPE, TILE_SHAPES


def describe() -> dict[str, str | int]:
    """Return names and values: compiler, target, instruction set, register tile, threads, cache."""
    _, cpu, _ = cpu_target.target_context.codegen().magic_tuple()
    folder = cache_folder()
    files = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    return {
        "numba": numba.__version__,
        "llvmlite": llvmlite.__version__,
        "target": cpu,
        "instruction set": instruction_set(),
        "integer kernels": f"{isa.ISA.name if isa.ISA else isa.NUMPY}; there are {', '.join(isa.available())}",
        "register tile": f"{MR} x {NR} float32, {LANES} lanes per vector",
        "cores for this process": usable_cores(),
        "threads": numba.get_num_threads(),
        "threading layer": _threading_layer(),
        "cache": str(folder),
        "cache holds": f"{len(files)} files, {sum(path.stat().st_size for path in files) / 2**20:.1f} MiB",
    }


def instruction_set() -> str:
    """Return the instruction set that numba compiles for, which chose the register tile; the host may have more."""
    features = target_features()
    return next((name for name, _ in TILE_SHAPES if name in features), f"plain vectors of {PLAIN_SHAPE[2]}")


def _threading_layer():
    """Return the name of numba's threading layer, which is known after a parallel kernel has run."""
    try:
        return numba.threading_layer()
    except ValueError:
        return "not started"
