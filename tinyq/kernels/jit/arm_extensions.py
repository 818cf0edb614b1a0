"""Ask the operating system what an AArch64 processor can do: LLVM's list leaves instruction sets out."""
import ctypes
import platform
from functools import cache

BASE = "neon"                           # part of AArch64
_HWCAP, _HWCAP2 = 16, 26                # Linux: uapi/linux/auxvec.h
# LLVM's name -> (which word of getauxval, which bit): asm/hwcap.h
_LINUX = {"dotprod": (_HWCAP, 20), "i8mm": (_HWCAP2, 13)}
_MACOS = {"dotprod": b"hw.optional.arm.FEAT_DotProd", "i8mm": b"hw.optional.arm.FEAT_I8MM"}
EXTENSIONS = frozenset(_LINUX)


@cache
def extensions() -> frozenset[str]:
    """Return LLVM's names of those instruction sets beyond BASE that the integer kernels use and the system reports."""
    has = {"Linux": _linux_has, "Darwin": _macos_has}.get(platform.system())
    return frozenset(name for name in EXTENSIONS if has and has(name))


def with_extensions(listed: frozenset[str], reported: frozenset[str], is_restricted: bool) -> frozenset[str]:
    """Return the features of LLVM's list with BASE and what the system reports.

    is_restricted: a user made the list; then only what it names counts.
    """
    return (listed - EXTENSIONS) | {BASE} | (reported & listed if is_restricted else reported)


def _linux_has(name):
    which, bit = _LINUX[name]
    return bool(_auxiliary_word(which) >> bit & 1)


def _auxiliary_word(which):
    ask = ctypes.CDLL(None).getauxval
    ask.restype, ask.argtypes = ctypes.c_ulong, (ctypes.c_ulong,)
    return ask(which)


def _macos_has(name):
    value, size = ctypes.c_int(0), ctypes.c_size_t(ctypes.sizeof(ctypes.c_int))
    refused = ctypes.CDLL(None).sysctlbyname(_MACOS[name], ctypes.byref(value), ctypes.byref(size), None, 0)
    return not refused and value.value == 1
