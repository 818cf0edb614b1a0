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
