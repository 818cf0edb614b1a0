"""Check the environment variables that numba and the kernels read, before they read them.

numba ignores some wrong values, raises for others long after a run has begun, and for a few ends the process.
"""
import importlib.util
import os
import re
import subprocess
import sys
from functools import cache

from tinyq.errors import UsageError, did_you_mean

MAX_THREADS = 4096                                      # with 100,000 the process dies while it starts them
INSTRUCTION_SETS = ("amx", "vnni", "avx512", "avxvnni", "avx2", "i8mm", "dotprod", "neon", "numpy")
FORCED_ISA, NUM_THREADS, LAYER = "TINYQ_ISA", "NUMBA_NUM_THREADS", "NUMBA_THREADING_LAYER"
LAYERS = ("default", "omp", "workqueue", "tbb", "safe", "forksafe", "threadsafe")
_SURE_LAYERS = LAYERS[:3]                               # the others need libraries that may be missing
_TIMEOUT = 60                                           # seconds
# numba's own check, in a process that may crash: every variable parsed, the target accepted, the threads started.
_PROBE = """
import warnings
warnings.simplefilter("error")
import numba
from numba.core.registry import cpu_target
from numba.np.ufunc.parallel import _launch_threads
cpu_target.target_context.codegen()
_launch_threads()
"""


@cache
def check_variables() -> None:
    """UsageError for a variable whose value numba or the kernels cannot use."""
    forced_isa()
    if importlib.util.find_spec("numba") is None:
        return
    threads = os.environ.get(NUM_THREADS)
    if threads is not None and not (threads.strip().isdecimal() and 1 <= int(threads[:9]) <= MAX_THREADS):
        raise UsageError(f"{NUM_THREADS}={threads}: must be a whole number from 1 to {MAX_THREADS}")
    layer = os.environ.get(LAYER, LAYERS[0])
    if layer not in LAYERS:
        raise UsageError(f"{LAYER}={layer}: {did_you_mean(layer, LAYERS)}")
    if os.environ.get("NUMBA_DISABLE_JIT", "0").strip() not in ("", "0"):
        raise UsageError("NUMBA_DISABLE_JIT: the kernels run only when compiled; unset it")
    if os.environ.get("NUMBA_CACHE_LOCATOR_CLASSES"):
        raise UsageError("NUMBA_CACHE_LOCATOR_CLASSES: the kernels have a folder of their own, which TINYQ_CACHE "
                         "chooses; unset it")
    _ask_numba()


def forced_isa() -> str | None:
    """Return the value of TINYQ_ISA, None where it is not set; UsageError for an unknown name."""
    wanted = os.environ.get(FORCED_ISA) or None
    if wanted and wanted not in INSTRUCTION_SETS:
        raise UsageError(f"{FORCED_ISA}={wanted}: {did_you_mean(wanted, INSTRUCTION_SETS)}")
    return wanted


def _ask_numba():
    """Let numba judge its other variables, where any is set."""
    doubtful = [name for name in sorted(os.environ) if name.startswith("NUMBA_") and name != NUM_THREADS
                and not (name == LAYER and os.environ[name] in _SURE_LAYERS)]
    if not doubtful or not sys.executable:
        return
    try:
        found = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, timeout=_TIMEOUT,
                               text=True, errors="replace", stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return                                          # no answer: numba will complain itself
    refused = [line.strip() for line in found.stderr.splitlines() if "is not a recognized" in line]
    if found.returncode or refused:
        settings = ", ".join(f"{name}={os.environ[name]}" for name in doubtful)
        reason = refused[0] if refused else _reason(found)
        raise UsageError(f"{settings}: numba cannot use this ({reason}); unset it, or choose a value that numba's "
                         "documentation lists")


def _reason(found):
    """Return the last line that names an exception; a crash leaves none."""
    named = [line for line in found.stderr.splitlines() if re.match(r"\w+(Error|Warning): ", line)]
    return named[-1].strip() if named and found.returncode > 0 else "it ends the process"
