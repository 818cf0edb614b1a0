"""Settings of the process that the kernels run in: waiting threads sleep, freed memory stays."""
import ctypes
import os

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3               # glibc's malloc.h
_LARGEST_HEAP_BLOCK = 1 << 25                               # the most glibc takes for M_MMAP_THRESHOLD
_SPINS = "5000"


def let_waiting_threads_sleep() -> None:
    """Make a thread that waits for the others spin only briefly; call this before libgomp is loaded.

    By default it spins for milliseconds. On a busy machine this keeps the thread it waits for off its core: a LeNet
    step next to other work took 300 to 500 ms, with this setting 10 ms. A fifth of the spins gave 5 ms, but then
    threads fall asleep between two kernels: on a quiet machine a step took 2.1 ms instead of 1.9, and an ImageNet-size
    image in GoogLeNet 10.3 instead of 9.5. OMP_WAIT_POLICY or GOMP_SPINCOUNT, where set, take precedence.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)


def return_freed_memory() -> None:
    """Give freed pages back to the system, where the C library can, so that all resident memory is in use."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)


def keep_freed_memory() -> None:
    """Ask glibc not to return freed pages to the system; elsewhere do nothing.

    A training step frees and allocates the same arrays again and again: mapping their pages each time took a tenth of
    a ResNet-20 step (6,600 page faults).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_HEAP_BLOCK)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
