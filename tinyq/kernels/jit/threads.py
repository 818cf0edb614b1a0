"""Start numba's threads, and guard the calls that they cannot serve: in a forked child, or two at once."""
import os
import threading

import numba
from numba.core.registry import CPUDispatcher
from numba.np.ufunc.parallel import _launch_threads

from tinyq.errors import UsageError

_starting, _turn = threading.RLock(), threading.RLock()
_started = False


class Kernel(CPUDispatcher):
    """A compiled function that starts the threads when it is first called; later calls are numba's alone."""

    def __call__(self, *args, **kwargs):
        """Start the threads, which removes this method or puts a guard in its place, and call again."""
        start_threads()
        return self(*args, **kwargs)


def start_threads() -> None:
    """Start numba's threads unless they run; UsageError where none of its threading layers can be loaded."""
    global _started
    with _starting:
        if _started:
            return
        try:
            _launch_threads()
        except ValueError as error:
            raise UsageError(f"numba cannot start its threads ({error}); set NUMBA_THREADING_LAYER=workqueue") from None
        _started = True
        _guard(numba.threading_layer())


def _guard(layer):
    if layer == "workqueue":
        Kernel.__call__ = _one_at_a_time        # type: ignore[method-assign]  # a second caller would end the process
        return
    del Kernel.__call__
    if layer == "omp":                          # libgomp ends a forked child that uses it; what waits for it hangs
        os.register_at_fork(after_in_child=_refuse)


def _one_at_a_time(self, *args, **kwargs):
    with _turn:
        return CPUDispatcher.__call__(self, *args, **kwargs)


def _refuse():
    Kernel.__call__ = _after_fork               # type: ignore[method-assign]


def _after_fork(self, *args, **kwargs):
    raise UsageError("this process was forked from one whose kernels had run, and their threads did not come along; "
                     "start it with multiprocessing.get_context('spawn'), or fork before the first kernel runs")
