"""The processor that numba compiles for; NUMBA_CPU_NAME and NUMBA_CPU_FEATURES may restrict it."""
import ctypes
import os
import platform
from functools import cache

from numba import config
from numba.core.registry import cpu_target

from tinyq.kernels.jit import arm_extensions

_TILES = {"amx-tile", "amx-int8"}
_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XTILEDATA = 158, 0x1023, 18         # x86_64: asm/unistd_64.h, asm/prctl.h


def target_features() -> frozenset[str]:
    """Return LLVM's names of the target's instruction sets."""
    triple, _, features = cpu_target.target_context.codegen().magic_tuple()
    listed = frozenset(f[1:] for f in features.split(",") if f.startswith("+"))
    if not triple.startswith(("aarch64", "arm64")):
        return listed
    is_restricted = config.CPU_NAME is not None or config.CPU_FEATURES is not None
    return arm_extensions.with_extensions(listed, arm_extensions.extensions(), is_restricted)


@cache
def tiles_refused() -> str | None:
    """Return why this process may not use the target's AMX tile registers, or None where nothing is refused.

    Linux must be asked once, before the first tile instruction and for all threads; otherwise that instruction ends the
    process. A signal stack too small to hold the registers is the usual reason.
    """
    if not _TILES <= target_features():
        return None
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return "only known how to ask Linux"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XTILEDATA) == 0:
        return None
    return os.strerror(ctypes.get_errno())
