"""Freed arrays stay with the process for the next step."""
import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3               # glibc's malloc.h
_LARGEST_HEAP_BLOCK = 1 << 25                               # the most glibc takes for M_MMAP_THRESHOLD


def keep_freed_memory():
    """Ask glibc not to return freed pages to the system; elsewhere do nothing.

    A training step frees and allocates the same arrays again and again: fetching their pages anew took a tenth of a
    ResNet-20 step (6,600 page faults).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_HEAP_BLOCK)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
