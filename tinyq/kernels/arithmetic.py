"""Check before a run that the threads compute as IEEE-754 demands."""
import numba
import numpy as np

from tinyq.errors import TinyqError
from tinyq.kernels.jit.compile import njit, prange


def verify_arithmetic() -> None:
    """TinyqError if a worker thread flushes subnormal numbers to zero; a library may have requested it."""
    halved = np.zeros(numba.get_num_threads(), np.float32)
    _halve(np.full_like(halved, np.finfo(np.float32).tiny), halved)
    if not (halved > 0).all() or not np.finfo(np.float32).tiny * np.float32(0.5) > 0:
        raise TinyqError("this process flushes subnormal numbers to zero, so results would differ from other machines; "
                         "a library built with -ffast-math was loaded before tinyq: load it after, or not at all")


@njit(parallel=True)
def _halve(x, out):
    for i in prange(x.shape[0]):
        out[i] = x[i] * np.float32(0.5)
