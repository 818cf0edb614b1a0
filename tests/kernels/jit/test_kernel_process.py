"""Threads that wait for others sleep, however the kernels are first reached, unless the user has said otherwise."""
import os
import subprocess
import sys

import pytest

from tinyq.kernels.jit import process

FIRST_CALLS = ["kernels.set_threads(1)", "kernels.verify_arithmetic()"]


def openmp_settings(first_call, **environment):
    code = f"from tinyq import kernels\n{first_call}\nkernels.verify_arithmetic()"
    inherited = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    env = {**inherited, "OMP_DISPLAY_ENV": "verbose", **environment}
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True).stderr


@pytest.mark.parametrize("first_call", FIRST_CALLS)
def test_waiting_threads_sleep(first_call):
    settings = openmp_settings(first_call)
    if "GOMP_SPINCOUNT" not in settings:
        pytest.skip("numba's threads are not libgomp's here")
    assert f"GOMP_SPINCOUNT = '{process._SPINS}'" in settings


def test_the_users_choice_stands():
    ours = f"GOMP_SPINCOUNT = '{process._SPINS}'"
    assert ours not in openmp_settings(FIRST_CALLS[0], OMP_WAIT_POLICY="active")
    assert ours not in openmp_settings(FIRST_CALLS[0], GOMP_SPINCOUNT="77")


@pytest.mark.parametrize("chosen, found", [({}, "18"), ({"OPENBLAS_THREAD_TIMEOUT": "26"}, "26")])
def test_openblas_threads_sleep_before_numpy_starts_them(chosen, found):
    code = "import sys, os, tinyq; print('numpy' in sys.modules, os.environ['OPENBLAS_THREAD_TIMEOUT'])"
    env = {k: v for k, v in os.environ.items() if k != "OPENBLAS_THREAD_TIMEOUT"} | chosen
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout == f"False {found}\n", done.stderr


WORK = """
import os, sys, threading, multiprocessing
import numpy as np
from tinyq import kernels

def work(i=0):
    a = np.ones((300, 300), np.float32)
    return float(kernels.sum(kernels.matmul(a, a), (0, 1)).sum())

def in_threads(count):
    results = []
    threads = [threading.Thread(target=lambda: results.extend(work() for _ in range(20))) for _ in range(count)]
    [t.start() for t in threads], [t.join() for t in threads]
    return len(results), set(results)
"""


def ends(code, **environment):
    return subprocess.run([sys.executable, "-c", WORK + code], env={**os.environ, **environment}, capture_output=True,
                          text=True, timeout=120)


@pytest.mark.parametrize("layer", ["default", "workqueue"])
def test_python_threads_may_call_kernels_at_once(layer):
    done = ends("print(in_threads(4) == (80, {work()}))", NUMBA_THREADING_LAYER=layer)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def skip_without_libgomp(done):
    if "omp" not in done.stdout.splitlines()[-1:]:
        pytest.skip("numba's threads are not libgomp's here")


def test_a_child_forked_after_kernels_ran_gets_one_line_and_its_parent_the_same():
    done = ends("""
work()
import numba
with multiprocessing.get_context("fork").Pool(2) as pool:
    try:
        pool.map(work, range(4))
    except Exception as error:
        print(type(error).__name__, str(error))
pid = os.fork()
if not pid:
    from tinyq.errors import exit_code_of
    os._exit(exit_code_of(work, []))
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), work() == work())
print(numba.threading_layer())
""")
    skip_without_libgomp(done)
    pooled, alone, _ = done.stdout.splitlines()
    assert pooled.startswith("UsageError this process was forked from one whose kernels had run")
    assert alone == "2 True" and done.stderr.count("\n") == 1 and "get_context('spawn')" in done.stderr


def test_a_child_forked_before_any_kernel_ran_computes():
    done = ends("""
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(pool.map(work, range(4)) == [work()] * 4)
""")
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_after_the_first_call_numba_is_called_directly():
    done = ends("work()\nfrom tinyq.kernels.jit.threads import Kernel\nprint('__call__' in vars(Kernel))",
                NUMBA_THREADING_LAYER="omp")
    assert done.stdout == "False\n"


def test_no_threading_layer_is_a_usage_error(monkeypatch):
    from tinyq.errors import UsageError
    from tinyq.kernels.jit import threads

    def missing():
        raise ValueError("No threading layer could be loaded.")

    monkeypatch.setattr(threads, "_started", False)
    monkeypatch.setattr(threads, "_launch_threads", missing)
    with pytest.raises(UsageError, match="set NUMBA_THREADING_LAYER=workqueue"):
        threads.start_threads()
