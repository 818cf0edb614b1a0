"""numba's decorators as the kernels use them: IEEE arithmetic, a private cache, a notice when compilation starts."""
import threading

import numba
from numba import config
from numba.core import event

from tinyq.kernels.jit import linking
from tinyq.kernels.jit.cache import cache_folder, sealed, usable_folder
from tinyq.kernels.jit.threads import Kernel
from tinyq.output.terminal import tell_once
from tinyq.output.work import Work

prange = numba.prange

_HOW = {"error_model": "numpy", "nogil": True, "no_cfunc_wrapper": True}


def njit(function=None, *, parallel=False):
    """Compile without fastmath and with NumPy's division semantics, cached under a hash of the kernels' sources."""
    if function is None:
        return lambda f: njit(f, parallel=parallel)
    how = _HOW | {"parallel": True, "pipeline_class": linking.PARALLEL} if parallel else _HOW
    before, config.CACHE_DIR = config.CACHE_DIR, str(usable_folder(cache_folder()))
    try:
        dispatcher = sealed(numba.njit(function, cache=True, **how))
    finally:
        config.CACHE_DIR = before
    dispatcher.__class__ = Kernel
    return dispatcher


def part(function):
    """Compile a function that only other kernels call; it gets no machine code of its own (linking.py)."""
    return numba.njit(function, no_cpython_wrapper=True, pipeline_class=linking.PART, **_HOW)


class _Notice(event.Listener):
    """Report that kernels are being compiled, so that the wait does not look like a hang."""

    def __init__(self):
        self.work, self.depth = Work("compiling kernels", pieces="functions"), threading.local()

    def on_start(self, event):
        """Print the line at the first compilation of one of our kernels."""
        if _is_ours(event):
            self.depth.value = getattr(self.depth, "value", 0) + 1
            if self.depth.value == 1:           # not for the functions that a kernel is compiled with
                tell_once("tinyq: compiling kernels for this CPU (once, in a minute or two; later runs load them)")
                self.work.__enter__()

    def on_end(self, event):
        """Count the function."""
        if _is_ours(event):
            self.depth.value -= 1
            self.work.advance()
            if not self.depth.value:
                self.work.__exit__(None, None, None)


def _is_ours(event):
    return event.data["dispatcher"].py_func.__module__.startswith("tinyq.")


event.register("numba:compile", _Notice())
