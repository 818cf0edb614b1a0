"""Find out whether numba is installed."""
import functools
import importlib.util

from tinyq.kernels.jit.variables import check_variables
from tinyq.output.terminal import tell


@functools.cache
def numba_is_there() -> bool:
    """Look for numba without importing it; report once if it is missing. UsageError for variables it cannot use."""
    check_variables()
    if importlib.util.find_spec("tinyq.kernels.jit.compile") is None:       # the runtime alone (tinyq/runtime)
        return False
    if importlib.util.find_spec("numba") is None:
        tell("tinyq: numba is not installed; NumPy is used instead, which is much slower")
        return False
    return True
